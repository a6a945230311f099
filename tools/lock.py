"""Write requirements.lock: all that the project needs, as installed, with the hash of each file that pip may take.

`make lock` calls it after an upgrade. With file names it writes the hashes of those files anew instead: environments of
stages, whose pins stand in them. torch is pinned without a hash, in torch.lock: which build fits depends on the
machine, and a lock cannot know every index that offers one.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import urllib3
from pip._internal.models.index import PyPI
from pip._vendor.packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
APART = ("torch",)
EXTRAS = ("dev", "train")
NOT_OURS = ("guideway", "pip", "setuptools", "wheel", "triton")
LEFT_OUT = ("openvino-telemetry",)
"""OpenVINO runs without it, and reports to nobody then."""
LINUX = re.compile(r"-(?:(?:py2\.)?py3\d*|cp3\d+)-(?:none|abi3|cp3\d+t?)-(?:any|.*(?:many|musl)linux.*)\.whl$")
ACCEPT = "application/vnd.pypi.simple.v1+json"


def main() -> None:
    """Read what is installed, ask the index for hashes, write both files whole; or write those that are named."""
    if len(sys.argv) > 1:
        for name in sys.argv[1:]:
            path = Path(name)
            path.write_text(locked(path.read_text(encoding="utf-8").splitlines()), encoding="utf-8")
        return
    pins = installed()
    first = "# Written by `make lock`; pip checks every hash. One entry for each file that fits a Linux machine."
    chosen = {name: version for name, version in pins.items() if name not in APART}
    (ROOT / "requirements.lock").write_text("\n".join([first, *entries(chosen)]) + "\n", encoding="utf-8")
    apart = [f"{name}=={version}" for name, version in pins.items() if name in APART]
    (ROOT / "torch.lock").write_text("\n".join(apart) + "\n", encoding="utf-8")
    print(f"{len(pins)} distributions locked")


def locked(lines: list[str]) -> str:
    """The same comments and pins as *lines*, with hashes."""
    comments = [line for line in lines if line.startswith("#")]
    pins = dict(line.rstrip(" \\").split("==") for line in lines if "==" in line)
    return "\n".join([*comments, *entries(pins)]) + "\n"


def entries(pins: Mapping[str, str]) -> list[str]:
    """One entry of a lock for each pin."""
    web = urllib3.PoolManager()
    return [
        " \\\n".join([f"{name}=={version}", *(f"    --hash=sha256:{one}" for one in hashes(web, name, version))])
        for name, version in pins.items()
    ]


def installed() -> dict[str, str]:
    """The version of every distribution that the project needs with the extras of EXTRAS; local ones are cut."""
    found: dict[str, str] = {}
    waiting = [("guideway", EXTRAS), ("hatchling", ()), ("editables", ())]
    seen = set()
    while waiting:
        name, extras = waiting.pop()
        if (name, extras) in seen or name in LEFT_OUT:
            continue
        seen.add((name, extras))
        distribution = metadata.distribution(name)
        found[name] = distribution.version.partition("+")[0]
        for line in distribution.requires or ():
            need = Requirement(line)
            if need.marker is None or any(need.marker.evaluate({"extra": one}) for one in ("", *extras)):
                waiting.append((plain(need.name), tuple(sorted(need.extras))))
    return {name: found[name] for name in sorted(found) if name not in NOT_OURS and not name.startswith("nvidia-")}


def plain(name: str) -> str:
    """A name as indexes write it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def hashes(web: urllib3.PoolManager, name: str, version: str) -> list[str]:
    """The SHA-256 of every wheel for Linux, and of the source, of one version."""
    answer = web.request("GET", f"{PyPI.simple_url}/{name}/", headers={"Accept": ACCEPT})
    files: list[dict[str, Any]] = answer.json()["files"]
    prefix = re.compile(re.sub(r"[-_.]+", "[-_.]+", name) + rf"-{re.escape(version)}(?:-|\.tar\.gz$|\.zip$)", re.I)
    own = [one for one in files if prefix.match(one["filename"])]
    chosen = [one for one in own if LINUX.search(one["filename"]) or one["filename"].endswith((".tar.gz", ".zip"))]
    if not chosen:
        raise SystemExit(f"the index has no file of {name} {version} for Linux")
    return sorted({one["hashes"]["sha256"] for one in chosen})


if __name__ == "__main__":
    main()
