"""``guideway doctor``."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

import click

from guideway.cli.draw import print_json
from guideway.cli.project import json_option
from guideway.cli.tables import table


class Finding(NamedTuple):
    """One thing looked at: is it good, and what to do if it is not."""

    what: str
    good: bool
    found: str
    try_this: str


@click.command("doctor")
@json_option
def command(as_json: bool) -> int:
    """Check this machine, and say what is missing and how to get it. Exit code 5 if something is."""
    findings = examine(Path.cwd())
    if as_json:
        print_json([one._asdict() for one in findings])
    else:
        rows = [("✓" if one.good else "✗", one.what, one.found, "" if one.good else one.try_this) for one in findings]
        table(("", "WHAT", "FOUND", "DO THIS"), rows, empty="")
    return 0 if all(one.good for one in findings) else 5


def examine(folder: Path) -> list[Finding]:
    """Look at interpreter, libraries, processors, memory and disk."""
    version = ".".join(map(str, sys.version_info[:3]))
    free = shutil.disk_usage(folder).free
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    writable = os.access(folder, os.W_OK)
    return [
        Finding("Python 3.11 or newer", sys.version_info >= (3, 11), version, "install a newer Python"),
        Finding("Linux", sys.platform == "linux", sys.platform, "the local target needs Linux"),
        _libraries("to serve", ("onnxruntime", "tokenizers", "jinja2", "numpy"), "serve"),
        _libraries("to train", ("torch", "transformers", "onnxruntime_genai", "safetensors"), "train"),
        Finding("processors", True, f"{os.cpu_count()}", ""),
        Finding("memory", memory > 3e9, f"{memory / 1e9:.1f} GB", "training needs some 3 GB"),
        Finding("disk", free > 2e9, f"{free / 1e9:.1f} GB free", "free some space: 2 GB are needed"),
        Finding("folder can be written", writable, str(folder), "choose another folder"),
    ]


def _libraries(purpose: str, names: tuple[str, ...], extra: str) -> Finding:
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    found = f"{', '.join(missing)} missing" if missing else ", ".join(names)
    return Finding(f"libraries {purpose}", not missing, found, f"pip install 'guideway[{extra}]'")
