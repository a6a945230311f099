"""``guideway scan``."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import msgspec

from guideway.cli.draw import drawn, print_json
from guideway.cli.project import json_option
from guideway.cli.tables import table
from guideway.core.errors import Refused, SpecError
from guideway.core.events import Progress
from guideway.sealing.scanner import Scan, scan_files, scan_folder


@click.command("scan")
@click.argument("path", type=click.Path(path_type=Path))
@json_option
def command(path: Path, as_json: bool) -> None:
    """Judge a model file or a folder by what is inside, without loading or running anything of it.

    Allowed are safetensors, GGUF, ONNX, OpenVINO, arrays of numbers, tokenizers, pictures and plain text; secrets
    in them are found too. Ends with 3 when something is found.
    """
    found = _scanned(path, quiet=as_json)
    if as_json:
        print_json({**msgspec.to_builtins(found), "safe": not found.findings})
    else:
        _show(found)
    if found.findings:
        files = len({one.path for one in found.findings})
        raise Refused(
            f"{_count(len(found.findings), 'finding')} in {files} of {_count(found.files, 'file')}",
            where=str(path),
            try_this="do not load it before they are gone",
        )


def _scanned(path: Path, *, quiet: bool) -> Scan:
    if not path.exists():
        raise SpecError("there is no such file or folder", where=str(path))
    if not path.is_dir():
        return scan_files([(path.name, path)])
    if quiet or not sys.stdout.isatty():
        return scan_folder(path)
    with drawn(as_json=False) as emit:
        return scan_folder(path, progress=lambda done, total: emit(Progress("scan", done / 1e6, total / 1e6, "MB")))


def _show(found: Scan) -> None:
    """One line per finding, and below what to do about each kind."""
    formats = ", ".join(sorted(set(found.formats.values()))) or "empty"
    safe = f"{_count(found.files, 'file')}, {found.bytes / 1e6:.1f} MB, nothing unsafe, no secret: {formats}"
    rows = [(one.path, one.rule, one.what) for one in found.findings]
    table(("FILE", "RULE", "FOUND"), rows, empty=safe)
    advice = {one.rule: one.try_this for one in found.findings}
    if advice:
        click.echo("\nwhat to do")
    for rule, text in advice.items():
        click.echo(f"  {rule}: {text}")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
