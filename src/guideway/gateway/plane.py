"""What all connections of one worker share: route, keys, limits, cache, queue, pools, the clock and the dice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from guideway.core.assignment import caller_key
from guideway.core.route import Arm, KeyFile, Route
from guideway.core.spec.gateway import Gateway, Limits
from guideway.core.terms import Terms
from guideway.gateway import errors, pages, paths, wire
from guideway.gateway.admission import Admission, limit_of
from guideway.gateway.batches.credential import secret_of as batch_secret
from guideway.gateway.beside import Beside
from guideway.gateway.budget import RetryBudget
from guideway.gateway.cache.cache import Cache
from guideway.gateway.cache.plan import Call, Plan
from guideway.gateway.cache.repeatable import COMPUTED
from guideway.gateway.copies import Copies
from guideway.gateway.corrections import Corrections
from guideway.gateway.counting import Counting
from guideway.gateway.errors import ApiError
from guideway.gateway.feedback import Feedback, RequestIds, mark
from guideway.gateway.feedback import secret_of as id_secret
from guideway.gateway.heads import KnownHeads
from guideway.gateway.keys import KeyRing, allows
from guideway.gateway.limits.amounts import Estimate
from guideway.gateway.limits.key_lease import Waiter as Debtor
from guideway.gateway.limits.line import Line
from guideway.gateway.limits.meter import Taken
from guideway.gateway.log import log
from guideway.gateway.opening import READ_BYTES
from guideway.gateway.pools import Pools
from guideway.gateway.prepare import Preparation, Prepared
from guideway.gateway.record import Record
from guideway.gateway.reports import Reports
from guideway.gateway.request import Peek, Request, peek_at, refuse
from guideway.gateway.routing import ServingArm, Table, read_route, replaces
from guideway.gateway.seen import Seen
from guideway.gateway.side import SideExchange, Uploader
from guideway.gateway.traces import Traces
from guideway.gateway.turns import Turns

_RANDOM_BYTES = 8
_RANDOMS_AT_ONCE = 512
_DAY = 86_400
_BYTES_PER_TOKEN = 3
MEGABYTE = 1024 * 1024
_UNLIMITED = Limits()


class Plane:
    """The state of one worker of the gateway with *options*.

    *clock* is monotonic, *wall* counts from 1970, in seconds; *uniform* draws from [0, 1); *secret* seals the cache.
    """

    def __init__(
        self,
        options: Gateway,
        *,
        clock: Callable[[], float],
        wall: Callable[[], float],
        uniform: Callable[[], float],
        random_bytes: Callable[[int], bytes],
        secret: bytes,
        line: Line | None = None,
        reports: Reports | None = None,
        environment: str = "",
        folder: Path | None = None,
    ) -> None:
        """Set up everything; nothing is connected yet.

        Raises:
            SpecError: an option makes no sense.
        """
        self.options, self.clock, self.wall = options, clock, wall
        self.body_limit = options.body_megabytes * MEGABYTE
        self.file_limit = options.batches.megabytes * MEGABYTE + MEGABYTE
        self.batches = str(folder / "batches.sock") if folder is not None else ""
        self.explains = str(folder / "explain.sock") if folder is not None and options.explain is not None else ""
        self.table: Table | None = None
        self.draining = False
        self.retiring = False
        """It is to leave soon: health says so, so that a load balancer sends no more, and requests are still served."""
        self.keys_unread = False
        self.date = b""
        self.heads = KnownHeads(random_bytes(32))
        self.budget = RetryBudget(options.routing.retries)
        self.line = line or Line("", options.limits, options.price, clock)
        self.reports = reports or Reports(clock=clock, wall=wall)
        self.cache = Cache(
            options.cache, secret=secret, clock=clock, wall=wall, uniform=uniform, random_bytes=random_bytes
        )
        self.admission = Admission(1, options.admission.queue, options.admission.wait, clock)
        self.turns = Turns(clock)
        self.beside = Beside(options.admission.queue, options.admission.wait, clock)
        self.ids = RequestIds(id_secret(b"", environment))
        self.feedback: Feedback | None = None
        self.corrections = Corrections(wall)
        self.traces: Traces | None = None
        self._environment = environment
        self._uniform, self._random_bytes = uniform, random_bytes
        self._keys = KeyRing(wall=wall)
        self._pepper = b""
        self._batch_secret = b""
        self._seen = Seen()
        self.pools = Pools(clock)
        self.copies = Copies(self.pools, self.reports, clock=clock, wall=wall, uniform=uniform)
        self.counting = Counting(self.reports.add)
        self.shadowing: Copies | None = None
        """Those copies, while the route has a candidate in shadow."""
        self._preparations: dict[str, Preparation] = {}
        self._terms: dict[str, tuple[Terms, Preparation]] = {}
        self._randoms: list[bytes] = []
        self._marks: dict[str, bytes] = {}
        self._caches = options.cache.store != "off"
        self._unlimited = options.limits == _UNLIMITED
        self.reports.settle = self.line.meter.settle
        self.line.meter.catch_up = self.reports.settle_all

    # What the files say.

    def set_keys(self, data: bytes) -> None:
        """Take the content of a keys file.

        Raises:
            ValueError: it is not one.
        """
        file = msgspec.json.decode(data, type=KeyFile)
        self._keys = KeyRing(file, wall=self.wall)
        self._pepper = bytes.fromhex(file.pepper)
        self._batch_secret = batch_secret(self._pepper) if self._pepper else b""
        self.ids = RequestIds(id_secret(self._pepper, self._environment))
        if self.feedback is not None:
            self.feedback.ids = self.ids
        self.heads.forget()

    def lose_keys(self, lost: bool) -> None:
        """Nobody knows which keys count while they are *lost*: one of them may have been revoked."""
        self.keys_unread = lost
        self.heads.forget()
        log("keys cannot be read: requests are refused" if lost else "keys can be read: requests are served again")

    def set_route(self, data: bytes) -> None:
        """Take the content of a route file; an older route than the present one is left alone.

        Raises:
            ValueError: it is not one.
        """
        route, old = read_route(data), self.table.route if self.table else None
        if not replaces(route, old):
            log("older route left alone", epoch=route.epoch, revision=route.revision)
            return
        self._apply(route)

    def _apply(self, route: Route) -> None:
        arms = [arm for arm in (route.stable, route.candidate) if arm is not None]
        self._preparations = {arm.release: self._preparation(arm) for arm in arms}
        self.table = table = self.pools.apply(route)
        self.reports.watches = bool(route.limits) and table.candidate is not None
        self.shadowing = self.copies.under(table)
        self._marks.clear()
        asked, there = self.options.admission, len(table.answering())
        asleep = route.wakes > 0.0 and not there
        limit = 0 if asleep else limit_of(asked, there, self.options.workers)
        self.admission.resize(limit, max(asked.wait, route.wakes) if asleep else asked.wait)

    def _preparation(self, arm: Arm) -> Preparation:
        """The steps of one release; those of one that stays are kept, for its rules may take a while to read."""
        terms, made = self._terms.get(arm.release, (None, None))
        if made is None or terms != arm.terms:
            made = Preparation(self.options, arm.terms, self.corrections)
        self._terms[arm.release] = (arm.terms, made)
        return made

    @property
    def model(self) -> str:
        """The name that clients ask for; empty before there is a route."""
        return self.table.route.model if self.table is not None else ""

    # What a request needs, in the order in which it needs it.

    def check(self, request: Request) -> ApiError | None:
        """Why the head of *request* is refused, or None."""
        if self.keys_unread and request.path not in paths.OPEN:
            return errors.KEYS_UNREAD
        refusal = refuse(request, self._keys, self.body_limit, self.file_limit, self._batch_secret)
        return self._unexplained(request) if refusal is None and request.path == paths.EXPLAIN else refusal

    def _unexplained(self, request: Request) -> ApiError | None:
        """Why *request* has nothing explained: it is not wanted here, or its key may not.

        The scores of an answer tell of the system prompt, and no guardrail looks at them.
        """
        if not self.explains:
            return errors.NO_PATH
        return errors.NO_ROLE if request.key is None or request.key.role == "user" else None

    def service(self, path: bytes) -> str:
        """The socket of the process that answers what is asked of *path*."""
        return self.explains if path == paths.EXPLAIN else self.batches

    def admit(self, request: Request) -> Peek | ApiError:
        """What the body of *request* asks for, or why it is refused."""
        found, table, key = peek_at(request), self.table, request.key
        if isinstance(found, ApiError):
            return found
        if table is None:
            return errors.NO_REPLICA
        known = table.route.model
        if key is not None and key.models and not allows(key, known):
            return errors.unknown_model(found.model, [])
        return found if found.model == known else errors.unknown_model(found.model, [known])

    def page(self, request: Request) -> tuple[int, bytes]:
        """Status and JSON body of what the worker answers by itself."""
        leaving = self.retiring or self.draining
        return pages.page(request.path, self.table, request.key, leaving=leaving, keys_unread=self.keys_unread)

    def side(self, client: Uploader, request: Request) -> SideExchange:
        """An exchange with a process beside the workers, not started yet."""
        return SideExchange(client, request, self.new_id(None, request.owner), self.date, self.clock)

    def assign(self, request: Request, wanted: Peek, record: Record) -> ServingArm | None:
        """The arm of *request*, noted in *record*. None: nothing serves."""
        table = self.table
        if table is None:
            return None
        self.budget.request(record.begun)
        record.batch = request.batch
        record.caller = caller = self._caller(request, wanted)
        if table.candidate is None:
            record.why_not, arm = "no rollout", table.stable
            if arm is not None:
                record.arm, record.release = arm.name, arm.release
            return arm
        route = table.route
        key = caller if route.unit == "caller" else ""
        assignment, arm = table.assign(key=key, uniform=self._uniform(), why_not="batch" if request.batch else "")
        record.share, record.unit, record.why_not = assignment.share, assignment.key, assignment.why_not
        record.rollout = route.rollout
        if arm is not None:
            record.arm, record.release = arm.name, arm.release
        return arm

    def _caller(self, request: Request, wanted: Peek) -> str:
        """The digest of whoever asks, as far as the request says who that is; empty for the anonymous."""
        if request.key is None:
            return ""
        said = wanted.user or request.headers.get(b"x-session-id", b"").decode("latin-1")
        return caller_key(self._pepper, request.key.owner, said) if said else ""

    def awake(self, arm: ServingArm) -> ServingArm | None:
        """*arm*, which was asleep, as it is now; None where another release serves: the request was not made for it."""
        now = self.table.again(arm) if self.table is not None else None
        return now if now is not None and now.digest == arm.digest else None

    def new_id(self, arm: ServingArm | None, owner: str) -> bytes:
        """A request id that proves later whose request it was, and of which release."""
        if not self._randoms:
            many, size = self._random_bytes(_RANDOM_BYTES * _RANDOMS_AT_ONCE), _RANDOM_BYTES
            self._randoms = [many[start : start + size] for start in range(0, len(many), size)]
        name = arm.name if arm is not None else ""
        found = self._marks.get(name)
        if found is None:
            found = self._mark(arm)
        return self.ids.make(self._randoms.pop(), found, owner)

    def _mark(self, arm: ServingArm | None) -> bytes:
        day = int(self.wall()) // _DAY
        made = mark(day, arm.release if arm is not None else "", arm.name if arm is not None else "")
        self._marks[arm.name if arm is not None else ""] = made
        return made

    def id_line(self, request: Request) -> bytes:
        """The header line with an id for an answer of our own."""
        owner = request.owner
        return b"x-request-id: %b\r\n" % self.new_id(None, owner)

    def reserve(self, request: Request, wanted: Peek, arm: ServingArm | None, debtor: Debtor) -> Taken | None:
        """Take what *request* may cost at most from the budgets of its key. None: it has no limits."""
        key = request.key
        assert key is not None, "nobody gets here without a key"
        if self._unlimited if key.limits is None else key.limits == _UNLIMITED:
            return None
        asked = wanted.most_tokens or (arm.terms.max_tokens if arm is not None else 0)
        asked = 0 if request.path in COMPUTED else asked
        estimate = Estimate(len(request.body) // _BYTES_PER_TOKEN, asked * wanted.answers)
        return self.line.meter.take(key, estimate, debtor)

    def preparation(self, arm: ServingArm) -> tuple[Preparation, int]:
        """What makes requests ready for a replica of *arm*, and of how many bytes of a prompt the affinity is."""
        return self._preparations[arm.digest], self.options.routing.affinity if len(arm.backends) > 1 else 0

    def plan(self, arm: ServingArm, request: Request, wanted: Peek, record: Record, prepared: Prepared) -> Plan | None:
        """What the cache may do. A question that was seen before tells nothing of the arms, and is no unit."""
        if not self._caches:
            return None
        control = request.headers.get(b"cache-control", b"")
        call = Call(
            request.owner,
            request.path,
            request.body,
            arm.digest,
            arm.terms,
            prepared.digest,
            control,
            request.plain,
            wanted.temperature == 0,
        )
        plan = self.cache.plan(call)
        if plan is not None and self._seen.look(plan.unit):
            record.why_not = record.why_not or "seen before"
        return plan

    def watch(self, record: Record, prepared: Prepared) -> None:
        """*record* is surely a unit of a rollout: note what is asked, and the limits that are kept for it."""
        if len(prepared.asked) <= READ_BYTES:
            record.asked = prepared.asked
        if self.table is not None:
            record.limits = self.table.route.limits

    def tick(self) -> None:
        """Once a second: the date, the day in request ids, what has become old."""
        self.date = wire.date_line(self.wall())
        self._marks.clear()
        self.pools.sweep()
        self.copies.look()
        self.cache.tick()
