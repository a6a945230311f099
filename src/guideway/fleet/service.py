"""Being the controller of one home, as a process: one acts at a time, and any other one waits or goes."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

from guideway.core.errors import Unavailable
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
TURN = 1.0
"""Seconds between two looks of one that waits until the controller that acts has ended."""


def serve(home: Home, *, stay: bool = False) -> None:
    """Act until everything is down, or until SIGTERM or SIGINT; what runs goes on running.

    While another controller acts there is nothing to do. With *stay* it is waited for, and so is work.

    Raises:
        Unavailable: a controller on another machine acts, what runs here belongs to another state, or, with *stay*,
            the state was deleted.
    """
    os.environ.pop("GUIDEWAY_STATE", None)  # what we start must not know it
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    with Database(home.database) as database:
        # once more when something was asked for while the last round ended, unless the state was deleted
        while _acted(home, database, stopping, stay=stay) and home.has_state and (stay or wanted(database)):
            pass
    if stay and not stopping.is_set():
        raise Unavailable("the state is gone", where=str(home.path))


def _acted(home: Home, database: Database, stopping: threading.Event, *, stay: bool) -> bool:
    """Be the controller until nothing is left to do; False when another one is, or when a signal ended us."""
    tried = 0
    while not stopping.is_set() and home.has_state and (stay or tried < ATTEMPTS):
        with locked(home.controller, wait=False) as alone:
            if alone:
                _act(home, database, stopping, stay=stay)
                return not stopping.is_set()
        tried += 1
        if tried == ATTEMPTS and stay:
            _say("another controller acts; this one waits until it ends")
        stopping.wait(PAUSE if tried < ATTEMPTS else TURN)
    return False


def _act(home: Home, database: Database, stopping: threading.Event, *, stay: bool) -> None:
    owner.take(home, database)
    controller = Controller(home, database, Host(home), Gateways(home), time.time)
    controller.stopping = stopping
    names = ", ".join(state.name for state in fleet.environments(database))
    _say(f"controller {os.getpid()} acts with epoch {controller.epoch} for: {names or 'nothing yet'}")
    controller.run(stay=stay)


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
