"""Write the lock of a stage's environment: ``python tools/lock_stage.py LOCK REQUIREMENT …``.

What the requirements need is resolved as of today and written with the hash of each file that fits a Linux machine,
but for torch and what torch brings: those come from our own environment, which stands behind that of the stage.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

from pip._vendor.packaging.requirements import Requirement

from lock import entries, plain


def main(argv: list[str]) -> None:
    """Resolve the requirements ``argv[1:]`` beside our torch, and write the lock ``argv[0]`` whole."""
    path, asked = Path(argv[0]), argv[1:]
    ours = behind("torch")
    pins = {name: version for name, version in resolved(asked).items() if name not in ours}
    first = f"# Written by tools/lock_stage.py for {' '.join(asked)}; torch and what it brings come from our own."
    path.write_text("\n".join([first, *entries(dict(sorted(pins.items())))]) + "\n", encoding="utf-8")
    print(f"{len(pins)} distributions locked")


def resolved(asked: list[str]) -> dict[str, str]:
    """The version of everything that *asked* needs, in an environment that has nothing yet; nothing is installed."""
    with tempfile.TemporaryDirectory() as folder:
        bare, report = Path(folder) / "bare", Path(folder) / "report.json"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(bare)], check=True)
        pip = [sys.executable, "-m", "pip", "--python", str(bare / "bin" / "python"), "install", "--quiet"]
        torch = "torch==" + metadata.version("torch").partition("+")[0]
        subprocess.run([*pip, "--dry-run", "--only-binary=:all:", "--report", str(report), torch, *asked], check=True)
        found = json.loads(report.read_bytes())["install"]
    return {plain(one["metadata"]["name"]): one["metadata"]["version"].partition("+")[0] for one in found}


def behind(name: str) -> set[str]:
    """*name* and everything that it needs here."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        one = plain(waiting.pop())
        if one in found:
            continue
        found.add(one)
        needs = [Requirement(line) for line in metadata.distribution(one).requires or ()]
        waiting += [need.name for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})]
    return found


if __name__ == "__main__":
    main(sys.argv[1:])
