"""Questions to replicas that no client asked: does it live, and does it answer as a model does?

*Life* is asked by every worker, of a replica from which somebody waits for bytes that do not come: any HTTP answer
at all will do. *Meaning* is asked by one worker of a host (slot 0), which tells the others: a tiny completion, or the
class of a text. Never two questions of a kind to one replica at once, and about a fiftieth of its time at most for
meaning.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Literal

import msgspec

from guideway.core.launch import Probe
from guideway.core.proof import no_class, no_embedding
from guideway.core.route import Endpoint
from guideway.gateway.backend import Backend
from guideway.gateway.upstream import Head, connect

LOOK_SECONDS = 0.1
QUIET_SECONDS = 0.5
LIFE_SECONDS = 1.0
LIFE_AGAIN_SECONDS = 1.0
MEANING_SECONDS = 10.0
DUTY = 50.0
"""A replica works at most one second in so many for questions about meaning."""
PAUSE_MOST = 30.0
"""Seconds; and yet even the slowest is asked sometimes."""
CONFIRM_SECONDS = 0.2
BAD_IN_A_ROW = 2
ANSWER_LIMIT = 64 * 1024
DISPROVED = frozenset({"probe", "garbage", "connect", "broken"})
"""Faults that one good answer takes back; one that fails now and then, or is slow, has to pass a trial."""

Question = Literal["life", "meaning"]
Ask = Callable[[Backend, bytes, float], "asyncio.Future[tuple[int, bytes]] | asyncio.Task[tuple[int, bytes]]"]
"""Sends bytes to a backend; gives status and body, or raises OSError (TimeoutError after the seconds) or ValueError."""


class Prober:
    """Asks the backends of one worker. *every* is the number of seconds between two questions about meaning; 0: none.

    *changed* hears of a backend that was ejected or that is well again. What waits there already goes elsewhere only
    after some seconds (`Attempt.elsewhere`): a replica that is merely busy would have done the work twice. Call
    :meth:`look` every LOOK_SECONDS.
    """

    def __init__(
        self, *, clock: Callable[[], float], every: float, changed: Callable[[Backend], None], ask: Ask | None = None
    ) -> None:
        self._clock, self._every, self._changed = clock, every, changed
        self._ask = ask or _Asking(clock)
        self._watched: dict[Backend, _Watch] = {}

    def look(self, backends: Iterable[tuple[Backend, Probe | None]]) -> None:
        """Ask what is due now of *backends*; those that are not named are asked no more."""
        now = self._clock()
        before, self._watched = self._watched, {}
        for number, (backend, probe) in enumerate(backends):
            watch = self._watched.setdefault(
                backend, before.get(backend) or _Watch(now + self._every * _spread(number))
            )
            if watch.life is None and self._suspect(backend, watch, now):
                watch.life = self._send(backend, watch, _life(backend), LIFE_SECONDS, self._lives)
            if probe and self._every and watch.meaning is None and watch.meaning_due <= now:
                watch.proves, watch.width = probe.proves, probe.width
                watch.meaning = self._send(backend, watch, _meaning(backend, probe), MEANING_SECONDS, self._meant)
        for backend, watch in before.items():
            if backend not in self._watched:
                watch.cancel()

    def close(self) -> None:
        """Ask no more."""
        for watch in self._watched.values():
            watch.cancel()
        self._watched = {}

    @staticmethod
    def _suspect(backend: Backend, watch: _Watch, now: float) -> bool:
        return watch.life_due <= now and (backend.quiet(now) >= QUIET_SECONDS or backend.why == "silent")

    def _send(
        self,
        backend: Backend,
        watch: _Watch,
        data: bytes,
        seconds: float,
        heard: Callable[[Backend, _Watch, float, _Heard], None],
    ) -> asyncio.Future[tuple[int, bytes]]:
        asked = self._clock()
        sent = self._ask(backend, data, seconds)
        sent.add_done_callback(lambda done: None if done.cancelled() else heard(backend, watch, asked, _what(done)))
        return sent

    def _lives(self, backend: Backend, watch: _Watch, asked: float, heard: _Heard) -> None:
        """An answer, whatever it says, is life; so are bytes that came in the meantime for somebody else."""
        now = self._clock()
        watch.life, watch.life_due = None, now + LIFE_AGAIN_SECONDS
        if heard is None and backend.heard_at < asked:
            watch.life_due = now
            if backend.eject(now, "silent", LIFE_SECONDS + LIFE_AGAIN_SECONDS):
                self._changed(backend)
        elif backend.why == "silent":
            backend.restore()
            self._changed(backend)

    def _meant(self, backend: Backend, watch: _Watch, asked: float, heard: _Heard) -> None:
        now = self._clock()
        watch.meaning, watch.meaning_due = None, now + watch.pause(self._every)
        if heard is None or heard[0] in {429, 503}:
            return  # it is gone, slow or busy: what requests meet, and the question for life, tell that apart
        watch.took(now - asked)
        if sound(*heard, watch.proves, watch.width):
            watch.bad = 0
            if backend.why in DISPROVED:
                backend.restore()
                self._changed(backend)
            return
        watch.bad += 1
        if watch.bad < BAD_IN_A_ROW:
            watch.meaning_due = now + CONFIRM_SECONDS
        elif backend.eject(now, "probe", 2 * watch.pause(self._every) + MEANING_SECONDS):
            self._changed(backend)


_Heard = tuple[int, bytes] | None


class _Watch:
    """What is known of the questions to one backend."""

    __slots__ = ("bad", "least", "life", "life_due", "meaning", "meaning_due", "proves", "width")

    def __init__(self, due: float) -> None:
        self.life: asyncio.Future[tuple[int, bytes]] | None = None
        self.meaning: asyncio.Future[tuple[int, bytes]] | None = None
        self.life_due = 0.0
        self.meaning_due = due
        self.least = 0.0
        self.bad = 0
        self.proves, self.width = "token", 0

    def took(self, seconds: float) -> None:
        """The least time that an answer took lately: what it costs the replica, without the waiting in its queue."""
        self.least = min(seconds, self.least * 1.1) if self.least else seconds

    def pause(self, every: float) -> float:
        """The seconds until the next question about meaning."""
        return max(every, min(DUTY * self.least, PAUSE_MOST))

    def cancel(self) -> None:
        """Let go of what is under way."""
        for question in (self.life, self.meaning):
            if question is not None:
                question.cancel()


def _what(done: asyncio.Future[tuple[int, bytes]]) -> _Heard:
    """What came, (0, b"") for what is not HTTP, or None for nothing."""
    try:
        return done.result()
    except OSError:
        return None
    except Exception:  # whatever a replica brings about, it is asked again
        return 0, b""


def _spread(number: int) -> float:
    """Backends are not asked all in one moment: golden-ratio steps in [0, 1)."""
    return number * 0.618034 % 1.0


# What is asked, and what counts as an answer.


def _life(backend: Backend) -> bytes:
    return b"GET /healthz HTTP/1.1\r\nHost: %b\r\n\r\n" % backend.host


def _meaning(backend: Backend, probe: Probe) -> bytes:
    body = probe.body.encode()
    head = b"POST %b HTTP/1.1\r\nHost: %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return head % (probe.path.encode(), backend.host, len(body)) + body


class _Message(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    text: str | None = None
    message: _Message = msgspec.field(default_factory=_Message)


class _Usage(msgspec.Struct):
    completion_tokens: int


class _Answer(msgspec.Struct):
    choices: list[_Choice]
    usage: _Usage


_decode = msgspec.json.Decoder(_Answer).decode


def sound(status: int, body: bytes, proves: str = "token", width: int = 0) -> bool:
    """Is this the answer of a model: 200, one token or more, and text, not bytes at random? Or what else it *proves*?

    A single token may be half a character, the end of the text, or a line break; those are sound.
    """
    if status != 200:
        return False
    if proves == "class":
        return not no_class(body)
    if proves == "embedding":
        return not no_embedding(body, width)
    try:
        answer = _decode(body)
    except (msgspec.DecodeError, RecursionError):
        return False
    if answer.usage.completion_tokens < 1 or not answer.choices:
        return False
    choice = answer.choices[0]
    text = choice.message.content or choice.text or ""
    strange = sum(1 for letter in text if letter == "\ufffd" or (letter < " " and letter not in "\t\n\r"))
    return strange <= max(1, len(text) // 10)


# How it is asked.


class _Asking:
    """Asks over a connection of its own, which no request ever inherits."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock

    def __call__(self, backend: Backend, data: bytes, seconds: float) -> asyncio.Task[tuple[int, bytes]]:
        return asyncio.get_running_loop().create_task(self._ask(backend.endpoint, data, seconds))

    async def _ask(self, endpoint: Endpoint, data: bytes, seconds: float) -> tuple[int, bytes]:
        alone = Backend(endpoint)
        alone.retire()  # so that it keeps no connection
        async with asyncio.timeout(seconds):
            connection = await connect(alone, self._clock)
            answer = _Collected()
            try:
                connection.send(answer, data)
                return await answer.whole
            finally:
                connection.abort()


class _Collected:
    """The answer to one question."""

    def __init__(self) -> None:
        self.whole: asyncio.Future[tuple[int, bytes]] = asyncio.get_running_loop().create_future()
        self._parts: list[bytes] = []

    def received(self, head: Head, parts: list[bytes], done: bool, at: float) -> None:
        """A further piece."""
        del at
        self._parts += parts
        if self.whole.done():
            return
        if done:
            self.whole.set_result((head.status, b"".join(self._parts)))
        elif sum(map(len, self._parts)) > ANSWER_LIMIT:
            self.whole.set_exception(ValueError("an answer without end"))

    def broken(self, started: bool) -> None:
        """The connection is lost; *started*: after the first byte, which was no HTTP or no whole answer."""
        if not self.whole.done():
            self.whole.set_exception(ValueError("garbage") if started else ConnectionResetError())
