"""What a controller acts with, the fence around what it writes, and what it says when something goes wrong."""

from __future__ import annotations

import contextlib
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor

from guideway.core.errors import GuidewayError
from guideway.core.protocols import Clock
from guideway.fleet.checkup import Checkup
from guideway.fleet.company import Company
from guideway.fleet.gateways import Gateways
from guideway.fleet.hands import Hands
from guideway.fleet.hear import Ears
from guideway.fleet.host import Host
from guideway.fleet.judge import Judge
from guideway.fleet.lately import Lately
from guideway.fleet.memory import Memory
from guideway.fleet.say import say
from guideway.fleet.scaler import Scaler
from guideway.fleet.since import Since
from guideway.store import fleet
from guideway.store.database import Database
from guideway.store.home import Home


class Means:
    """The means of one controller, for every environment of one home. Used by one thread.

    *clock* counts seconds since 1970; *steady* counts seconds too, and never jumps. Slow work runs in *pool*.
    """

    def __init__(
        self,
        home: Home,
        database: Database,
        host: Host,
        gateways: Gateways,
        clock: Clock,
        *,
        steady: Callable[[], float] = time.monotonic,
        pool: Executor | None = None,
    ) -> None:
        self.home, self.database, self.host, self.gateways, self.clock = home, database, host, gateways, clock
        memory = Memory(database, steady)
        self.memory, self.ears = memory, Ears(home, database, memory, steady)
        self.judge = Judge(database, memory, self.ears, clock, steady)
        self.company, self.scaler = Company(memory), Scaler(home, database, clock)
        self.epoch = memory.epoch = fleet.take_epoch(database)
        self.stopping = threading.Event()
        self.steady, self.lately, self.since = steady, Lately(steady), Since(steady, clock())
        self.checkup = Checkup(steady)
        self.hands = Hands(host, gateways, pool or ThreadPoolExecutor(max_workers=16, thread_name_prefix="hands"))
        self._complaints: dict[str, str] = {}

    @contextlib.contextmanager
    def fenced(self) -> Iterator[None]:
        """A transaction of the one who acts: if we slept, and another controller acts by now, nothing happens.

        Raises:
            Unavailable: another controller acts.
        """
        with self.database.transaction():
            fleet.check_epoch(self.database, self.epoch)
            yield

    def _complain(self, environment: str, error: Exception) -> None:
        """Say what went wrong, once; the next round tries again."""
        text = str(error) if isinstance(error, GuidewayError) else "".join(traceback.format_exception(error)).rstrip()
        if self._complaints.get(environment) != text:
            self._complaints[environment] = text
            say(f"{environment or 'controller'}: {text}")
