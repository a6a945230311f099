"""``mortal_mover.py push|pull STORE REFERENCE [RELEASE [PART]]``: one transfer in a process of its own."""

from __future__ import annotations

import sys
from pathlib import Path

from guideway.sealing.registry import parse, pull, push
from guideway.signing.keys import trusted
from guideway.store.blobs import Blobs


def main(verb: str, root: str, reference: str, release: str = "", part: str = "16777216") -> None:
    blobs = Blobs(Path(root) / "oci")
    if verb == "push":
        push(blobs, release, parse(reference), part=int(part))
    else:
        pull(blobs, parse(reference), trusted(Path(root) / "keys"))


main(*sys.argv[1:])
