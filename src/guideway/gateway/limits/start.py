"""How the limiter of a gateway is started, and where it and the workers meet."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from guideway.core.route import GatewaySettings

LONGEST_PATH = 100
"""A Unix socket's name may have 107 bytes on Linux, and 103 elsewhere."""


def command(settings: Path) -> list[str]:
    """The command line of the limiter of the gateway that is started with the file *settings*."""
    return [sys.executable, "-P", "-m", "guideway.gateway.limits", "--settings", str(settings)]


def socket_of(settings: GatewaySettings) -> str:
    """The socket of the limiter: in the gateway's folder, or, where that name is too long, in one of this user's own.

    Both are readable by their owner alone.
    """
    path = str(Path(settings.folder) / "limits.sock")
    if len(os.fsencode(path)) <= LONGEST_PATH:
        return path
    name = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    return str(Path(tempfile.gettempdir()) / f"guideway-{os.getuid()}" / f"{name}.sock")


def state_of(settings: GatewaySettings, environ: Mapping[str, str]) -> Path | str:
    """Where the rows are: ``$GUIDEWAY_STATE``, or ``state.db`` in the folder ``.guideway`` that the gateway runs in."""
    url = environ.get("GUIDEWAY_STATE", "")
    return url or Path(settings.folder).parents[2] / "state.db"
