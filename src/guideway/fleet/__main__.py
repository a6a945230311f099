"""``python -m guideway.fleet --home FOLDER``: the controller of one home. Only one acts at a time."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from guideway.core.errors import GuidewayError
from guideway.fleet.controller import Controller, describe, stop_on_signals
from guideway.fleet.host import Host
from guideway.kit.files import locked
from guideway.store.database import Database
from guideway.store.home import Home


def main(argv: list[str]) -> int:
    """Hold the lock and run; 0 when another controller holds it, or when everything is down."""
    home = Home(Path(argv[argv.index("--home") + 1]))
    with locked(home.run / "controller.lock", wait=False) as alone:
        if not alone:
            return 0
        try:
            with Database(home.database) as database:
                controller = Controller(home, database, Host(home), time.time)
                stop_on_signals(controller)
                sys.stderr.write(describe(controller) + "\n")
                controller.run()
        except GuidewayError as error:
            sys.stderr.write(f"{error}\n")
            return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
