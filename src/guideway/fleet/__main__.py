"""``python -m guideway.fleet --home FOLDER``: the controller of one home. Only one acts at a time.

A URL of the state comes in ``$GUIDEWAY_STATE``, never as an argument: everybody can read those.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from guideway.core.errors import GuidewayError
from guideway.fleet.service import serve
from guideway.store.home import Home


def main(argv: list[str]) -> int:
    """Be the controller; 0 when another one is, when everything is down, or when a signal ended it."""
    parser = argparse.ArgumentParser(prog="guideway.fleet", description="Look after everything that runs in one home.")
    parser.add_argument("--home", required=True, type=Path, help="the folder with state.db")
    url, copies = os.environ.get("GUIDEWAY_STATE", ""), os.environ.get("GUIDEWAY_CHECKPOINTS", "")
    try:
        serve(Home(parser.parse_args(argv).home, url, copies))
    except GuidewayError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
