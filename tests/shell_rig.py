"""``guideway`` as a person calls it: a process, its output, its exit code."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path


def call(
    argv: Sequence[str], folder: Path, environment: Mapping[str, str], seconds: float = 120.0, typed: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run ``guideway ARGV`` in *folder* with this *environment* alone, and what is *typed* in.

    Raises:
        subprocess.TimeoutExpired: it took longer than *seconds*, and was killed.
    """
    whole = [sys.executable, "-P", "-m", "guideway.cli", *argv]
    spoken = {"input": typed, "capture_output": True, "text": True}
    return subprocess.run(whole, check=False, cwd=folder, env=dict(environment), timeout=seconds, **spoken)
