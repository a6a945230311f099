"""``python -m guideway.fleet --home FOLDER``: the controller of one home. Only one acts at a time.

A URL of the state comes in ``$GUIDEWAY_STATE``, never as an argument: everybody can read those.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from pathlib import Path

from guideway.core.errors import GuidewayError
from guideway.fleet import owner
from guideway.fleet.controller import Controller, wanted
from guideway.fleet.gateways import Gateways
from guideway.fleet.host import Host
from guideway.kit.files import locked
from guideway.store import fleet
from guideway.store.database import Database
from guideway.store.home import Home

ATTEMPTS, PAUSE = 20, 0.05
"""How often, and how many seconds apart, the lock is tried: whoever only looks at it holds it for a moment too."""


def main(argv: list[str]) -> int:
    """Hold the lock and run; 0 when another controller holds it, or when everything is down."""
    parser = argparse.ArgumentParser(prog="guideway.fleet", description="Look after everything that runs in one home.")
    parser.add_argument("--home", required=True, type=Path, help="the folder with state.db")
    url = os.environ.pop("GUIDEWAY_STATE", "")  # what we start must not know it
    home = Home(parser.parse_args(argv).home, url, os.environ.get("GUIDEWAY_CHECKPOINTS", ""))
    try:
        with Database(home.database) as database:
            # once more when something was asked for while the last round ended, unless the state was deleted
            while _act(home, database) and home.has_state and wanted(database):
                pass
    except GuidewayError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


def _act(home: Home, database: Database) -> bool:
    """Be the controller until nothing is left to do; False when another one is, or when a signal ended us."""
    for _ in range(ATTEMPTS):
        with locked(home.run / "controller.lock", wait=False) as alone:
            if alone:
                owner.take(home, database)
                controller = Controller(home, database, Host(home), Gateways(home), time.time)
                _stop_on_signals(controller)
                _say_hello(controller)
                controller.run()
                return not controller.stopping.is_set()
        time.sleep(PAUSE)
    return False


def _stop_on_signals(controller: Controller) -> None:
    """SIGTERM and SIGINT end the loop after the current round. What runs goes on running."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: controller.stopping.set())


def _say_hello(controller: Controller) -> None:
    names = ", ".join(state.name for state in fleet.environments(controller.database))
    sys.stderr.write(f"controller {os.getpid()} acts with epoch {controller.epoch} for: {names or 'nothing yet'}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
