"""``python drill_controller.py guideway.fleet HOME``: the controller as it is, over stand-in model servers."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from drill_rig import StandIns

from guideway.fleet.controller import Controller
from guideway.fleet.gateways import Gateways
from guideway.kit.files import locked
from guideway.store.database import Database
from guideway.store.home import Home


def main(home: Home) -> None:
    with locked(home.controller, wait=False) as alone, Database(home.database) as database:
        if alone:
            Controller(home, database, StandIns(home), Gateways(home), time.time).run()


if __name__ == "__main__":
    main(Home(Path(sys.argv[2])))
