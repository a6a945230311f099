"""Environments of stages: what a requirements file locks, installed once below the state folder, for one stage alone.

What the file does not name comes from our own environment, which stands behind it on the path.
"""

from __future__ import annotations

import hashlib
import shutil
import site
import subprocess
import sys
from pathlib import Path

import guideway
from guideway.core.errors import GuidewayError
from guideway.kit.files import locked, write_atomic

DONE = "guideway-done"
"""The last file that is written: an environment without it was never whole."""
INSTALL = ("install", "--quiet", "--disable-pip-version-check", "--require-hashes", "--no-deps", "--only-binary=:all:")


def interpreter_for(requirements: Path, environments: Path, log: Path) -> Path:
    """The interpreter with what *requirements* locks; made below *environments* when it is not there yet.

    Everything in the file has a hash, nothing is built and no code of a package runs while it is installed.

    Raises:
        GuidewayError: it cannot be installed; what pip said is in *log*.
    """
    folder = environments / _name(requirements)
    with locked(environments / f"{folder.name}.lock"):
        if not (folder / DONE).is_file():
            shutil.rmtree(folder, ignore_errors=True)
            _make(folder, requirements, log)
            write_atomic(folder / DONE, b"")
    return folder / "bin" / "python"


def _name(requirements: Path) -> str:
    """The same file for the same interpreter is the same environment."""
    said = "\n".join((sys.version, *_behind())).encode() + b"\0" + requirements.read_bytes()
    return hashlib.sha256(said).hexdigest()[:24]


def _behind() -> list[str]:
    """Our own environment: its packages, and where Guideway lies."""
    return [*site.getsitepackages(), str(Path(guideway.__file__).parents[1])]


def _make(folder: Path, requirements: Path, log: Path) -> None:
    python = folder / "bin" / "python"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        for argv in (
            [sys.executable, "-m", "venv", "--without-pip", str(folder)],
            [sys.executable, "-m", "pip", "--python", str(python), *INSTALL, "-r", str(requirements)],
        ):
            if subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False).returncode:
                raise _failure(requirements, log)
    (own,) = folder.glob("lib/python*/site-packages")
    (own / "behind.pth").write_text("\n".join(_behind()) + "\n", encoding="utf-8")


def _failure(requirements: Path, log: Path) -> GuidewayError:
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if "ERROR" in line]
    said = f": {lines[0].removeprefix('ERROR:').strip()}" if lines else ""
    return GuidewayError(
        f"the environment of the stage cannot be made{said}",
        where=str(requirements),
        try_this=f"the whole story is in {log}",
    )
