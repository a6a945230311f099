"""A request to judge an answer: it counts as one request of its key, and waits for the disk."""

from __future__ import annotations

from typing import Protocol

from guideway.gateway import errors
from guideway.gateway.errors import ApiError
from guideway.gateway.feedback import RECEIVED, Feedback
from guideway.gateway.limits.toll import Measure, Toll
from guideway.gateway.mishap import tell
from guideway.gateway.request import Request


class Teller(Protocol):
    """The connection that the request came on."""

    def answer(self, request: Request, status: int, body: bytes) -> None:
        """Answer *request*."""

    def reply(self, request: Request, error: ApiError, lines: bytes = b"") -> None:
        """Answer *request* with *error*."""


class Counting(Protocol):
    """What knows the meter."""

    @property
    def meter(self) -> Measure:
        """The meter of this worker."""


class Desk(Protocol):
    """Where judgements are taken."""

    feedback: Feedback | None

    @property
    def line(self) -> Counting:
        """Where requests are counted."""

    def wall(self) -> float:
        """Seconds since 1970."""

    def id_line(self, request: Request) -> bytes:
        """The header line with an id."""


class Judging:
    """One judgement on its way to the disk."""

    __slots__ = ("_client", "_desk", "_request", "_toll", "active")

    def __init__(self, client: Teller, request: Request, now: float) -> None:
        self._client: Teller | None = client
        self._request = request
        self._toll: Toll | None = None
        self.active = now

    def start(self, desk: Desk) -> None:
        """Hand it in."""
        self._desk = desk
        key = self._request.key
        if desk.feedback is None or key is None:
            self._told(errors.NO_PATH)
        else:
            self._toll = Toll(desk.line.meter, key, self._counted)

    def _counted(self, refusal: ApiError | None) -> None:
        feedback, key = self._desk.feedback, self._request.key
        if refusal is not None or feedback is None or key is None:
            self._told(refusal or errors.NO_PATH)
            return
        try:
            feedback.receive(key, self._request.body, self._desk.wall(), self._told)
        except Exception as error:
            tell(error)
            self._told(errors.INTERNAL)

    def _told(self, error: ApiError | None) -> None:
        client, self._client = self._client, None
        if client is None:
            return
        if error is None:
            client.answer(self._request, 200, RECEIVED)
        else:
            client.reply(self._request, error, self._desk.id_line(self._request))

    def pause(self) -> None:
        """Nothing is sent before the end."""

    def resume(self) -> None:
        """Nothing is sent before the end."""

    def leave(self) -> None:
        """The client is gone; what it said is kept all the same, if it was counted."""
        self._client = None
        if self._toll is not None:
            self._toll.drop()

    def end(self, error: ApiError) -> None:
        """Wait no longer."""
        self._told(error)
