"""The record of an import: which file, of which digest, in which format, from where. It goes into the release."""

from __future__ import annotations

import json
from pathlib import Path

from guideway import __version__
from guideway.core.spec import Imported

FILE = "imported.json"


def write_record(out: Path, said: str, about: Imported, kind: str, digest: str) -> None:
    """Write it to *out*. *said*: what the spec calls the model; *digest* is empty where it was no single file."""
    record = {
        "base": said,
        "format": kind,
        "digest": digest or None,
        "origin": about.origin or None,
        "trained_on": None,
        "converted_by": f"guideway {__version__}",
    }
    text = json.dumps(record, indent=1, sort_keys=True, ensure_ascii=False)
    (out / FILE).write_text(text + "\n", encoding="utf-8")
