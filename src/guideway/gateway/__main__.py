"""``python -m guideway.gateway --settings FILE``: the parent of one gateway."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path

import msgspec

from guideway.core.errors import GuidewayError, SpecError, Unavailable
from guideway.core.route import GatewaySettings
from guideway.gateway import rlimits
from guideway.gateway.exposure import identity_of
from guideway.gateway.listen import bind
from guideway.gateway.log import log
from guideway.gateway.parent import Parent
from guideway.gateway.soundness import check_options
from guideway.kit.files import locked

COMPANIONS = {
    "guideway.gateway.admin": ("starlette", "uvicorn", "prometheus_client"),
    "guideway.gateway.batches": ("starlette", "uvicorn", "python_multipart"),
}


def main() -> int:
    """Run a gateway until SIGTERM; the exit code is that of the error, if there is one."""
    parser = argparse.ArgumentParser(prog="guideway.gateway", description="Serve the data plane of one environment.")
    parser.add_argument("--settings", required=True, type=Path, help="gateway settings, as JSON")
    path: Path = parser.parse_args().settings.absolute()
    try:
        settings = read_settings(path)
        with locked(path.with_name(path.name + ".lock"), wait=False) as alone:
            if not alone:
                advice = "stop the one that runs, or wait until it has drained"
                raise Unavailable("a gateway runs with these settings", where=str(path), try_this=advice)
            check_options(settings.options)
            rlimits.check_files()
            rlimits.leave_no_core()
            identity_of(settings)  # what is wrong with it is told here, in one line, and not by workers that die
            sockets = bind(settings.host, settings.port, settings.workers)
            Parent(path, sockets, companions(settings)).run()
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
            log("companion left out", module=module, why=f"install guideway[gateway]: {', '.join(missing)}")
        else:
            found.append(module)
    return found


def read_settings(path: Path) -> GatewaySettings:
    """The settings in the file *path*.

    Raises:
        SpecError: they are missing, or make no sense.
    """
    try:
        settings = msgspec.json.decode(path.read_bytes(), type=GatewaySettings)
    except OSError as error:
        raise SpecError(f"the settings cannot be read: {error.strerror}", where=str(path)) from None
    except msgspec.DecodeError as error:
        raise SpecError(f"the settings make no sense: {error}", where=str(path)) from None
    if settings.workers < 1 or not 0 <= settings.port <= 65535:
        raise SpecError("there must be at least one worker, and a port from 0 to 65535", where=str(path))
    return settings


if __name__ == "__main__":
    sys.exit(main())
