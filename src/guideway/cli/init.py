"""``guideway init``."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import click

from guideway.core.errors import SpecError

TEMPLATE = Path(__file__).parent / "template"


@click.command("init")
@click.argument("folder", type=click.Path(path_type=Path), default=Path())
def command(folder: Path) -> None:
    """Start a project in FOLDER (default: here): a spec, sample data, and what git should ignore.

    It builds as it stands: `guideway up` trains a small model on the sample in a minute.
    """
    for name in ("guideway.yaml", "data"):
        if (folder / name).exists():
            raise SpecError(
                "there is a project here already", where=str(folder / name), try_this="choose another folder"
            )
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(TEMPLATE / "data", folder / "data")
    shutil.copyfile(TEMPLATE / "env.example", folder / ".env.example")
    if not (folder / ".gitignore").exists():
        (folder / ".gitignore").write_text(".guideway/\n.env\n", encoding="utf-8")
    text = (TEMPLATE / "guideway.yaml").read_text(encoding="utf-8")
    (folder / "guideway.yaml").write_text(text.replace("name: my-model", f"name: {_name(folder)}"), encoding="utf-8")
    there = "" if folder == Path() else f"cd {shlex.quote(str(folder))} && "
    click.echo(f"a project in {folder}/: guideway.yaml, data/questions.jsonl\nnext: {there}guideway up")


def _name(folder: Path) -> str:
    """A model name from the folder's name: small letters, digits and dashes."""
    name = re.sub(r"[^a-z0-9._-]+", "-", folder.absolute().name.lower()).strip("-._")[:63]
    return name or "my-model"
