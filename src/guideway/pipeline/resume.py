"""What a killed step leaves to go on from: where it lies, and when nobody waits for it any longer."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

from guideway.core.artifact import Digest, short
from guideway.kit.files import locked
from guideway.store.home import Home

STALE = 7 * 86400.0
"""Seconds without a change after which what a killed step left is removed."""


def lock_of(home: Home, key: Digest) -> Path:
    """The lock that is held by whoever runs the step *key*."""
    return home.run / "locks" / short(key)


def resume_of(home: Home, key: Digest) -> Path:
    """The folder of the step *key* and of no other work."""
    return home.run / "resume" / key.removeprefix("sha256:")


def sweep(home: Home, now: float) -> None:
    """Remove the folders that have not changed for ``STALE`` seconds and that nobody works in."""
    for folder in (home.run / "resume").glob("*"):
        with locked(lock_of(home, folder.name), wait=False) as alone, contextlib.suppress(FileNotFoundError):
            changed = max(path.stat().st_mtime for path in (folder, *folder.iterdir()))
            if alone and now - changed > STALE:
                shutil.rmtree(folder)
