"""The command line as a person calls it: a process, its output, its exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "store"))

from postgres_rig import postgres

from shell_rig import call

__all__ = ["postgres"]


class Shell:
    """Runs ``guideway`` in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith("GUIDEWAY")}

    def __call__(self, *argv: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return call(argv, self.folder, {**self.environment, **variables})


@pytest.fixture
def guideway(tmp_path) -> Shell:
    return Shell(tmp_path)


@pytest.fixture
def project(guideway) -> Shell:
    """The shell inside a project that `guideway init` made."""
    assert guideway("init", "small").returncode == 0
    return Shell(guideway.folder / "small")
