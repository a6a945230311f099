"""Which splits there are to measure."""

from __future__ import annotations

from pathlib import Path


def split_names(data: Path) -> list[str]:
    """The held-out splits in the output of stage data."""
    return sorted(path.stem for path in data.glob("*.jsonl") if path.stem not in ("train", "rejected"))
