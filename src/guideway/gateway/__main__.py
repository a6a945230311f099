"""``python -m guideway.gateway --settings FILE``: the parent of one gateway."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import socket
import sys
import time
from pathlib import Path

from guideway.core.errors import GuidewayError, Unavailable
from guideway.core.route import GatewaySettings
from guideway.gateway import rlimits
from guideway.gateway.generation import check
from guideway.gateway.listen import bind
from guideway.gateway.log import log
from guideway.gateway.parent import EXPLAINER, Parent, Refusal
from guideway.gateway.settings import Versions, read_settings, same
from guideway.kit.files import locked

TRIES, PAUSE_SECONDS = 30, 0.1
"""How often, and how far apart, a port is asked for that workers of a gateway before may still hold."""

COMPANIONS = {
    "guideway.gateway.admin": ("starlette", "uvicorn", "prometheus_client"),
    "guideway.gateway.batches": ("starlette", "uvicorn", "python_multipart"),
    EXPLAINER: ("numpy", "onnxruntime", "tokenizers"),
}


def main() -> int:
    """Run a gateway until SIGTERM; the exit code is that of the error, if there is one."""
    parser = argparse.ArgumentParser(prog="guideway.gateway", description="Serve the data plane of one environment.")
    parser.add_argument("--settings", required=True, type=Path, help="gateway settings, as JSON")
    path: Path = parser.parse_args().settings.absolute()
    try:
        read_settings(path)
        with locked(path.with_name(path.name + ".lock"), wait=False) as alone:
            if not alone:
                advice = "stop the one that runs, or wait until it has drained"
                raise Unavailable("a gateway runs with these settings", where=str(path), try_this=advice)
            rlimits.check_files()
            rlimits.leave_no_core()
            versions = Versions(path)
            settings, sockets, refused = first(versions)
            Parent(versions, settings, sockets, companions(settings), refused).run()
    except GuidewayError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


def companions(settings: GatewaySettings) -> list[str]:
    """The modules that run beside the workers. Without the libraries of one, the data plane goes on without it."""
    if not settings.folder:
        return []
    found = ["guideway.gateway.limits"]
    for module, libraries in COMPANIONS.items():
        missing = [one for one in libraries if importlib.util.find_spec(one) is None]
        if missing:
            log("companion left out", module=module, why=f"install {', '.join(missing)}")
        else:
            found.append(module)
    return found


def first(versions: Versions) -> tuple[GatewaySettings, list[socket.socket], Refusal | None]:
    """What a gateway starts with, its sockets, and what it cannot start with: then it is what served last.

    Raises:
        GuidewayError: nothing can be started, and why not what is wanted.
    """
    wanted, served = read_settings(versions.wanted), versions.served()
    try:
        check(wanted)
        return wanted, _bind(wanted, served is not None), None
    except GuidewayError as error:
        if served is None or same(served, wanted):
            raise
        try:
            check(served)
            sockets = _bind(served, again=True)
        except GuidewayError:
            raise error from None
        log("settings refused", generation=wanted.generation, why=str(error))
        return served, sockets, Refusal(wanted.generation, str(error))


def _bind(settings: GatewaySettings, again: bool) -> list[socket.socket]:
    """Where one served before, its workers may need a moment until they have let the port go."""
    for _ in range(TRIES if again else 0):
        with contextlib.suppress(Unavailable):
            return bind(settings.host, settings.port, settings.workers)
        time.sleep(PAUSE_SECONDS)
    return bind(settings.host, settings.port, settings.workers)


if __name__ == "__main__":
    sys.exit(main())
