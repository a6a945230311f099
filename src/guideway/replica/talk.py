"""One running request as its client sees it, answered whole or as a stream of events."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable

from guideway.kit.http1 import Response
from guideway.replica.answers import DONE, Head, event, usage_of
from guideway.replica.constrain.automaton import TooLargeError
from guideway.replica.form import too_large
from guideway.replica.generation import Generation
from guideway.replica.logprobs import Mark
from guideway.replica.shapes import RequestError
from guideway.replica.tools import Call, Plan
from guideway.replica.worker import Piece

log = logging.getLogger(__name__)


class Talk:
    """One running request as its client sees it. Whoever ends it early frees its slot at the next step."""

    def __init__(self, generation: Generation, pieces: asyncio.Queue[Piece], left: Callable[[], None]) -> None:
        self._generation, self._pieces, self._left = generation, pieces, left
        self._open = True

    async def next(self) -> Piece:
        """What has come since the last call, as one piece; waits for at least one. ``finish`` marks the last.

        Raises:
            RequestError: the model failed.
        """
        piece = await self._pieces.get()
        while piece.finish is None and piece.error is None and not self._pieces.empty():
            more = self._pieces.get_nowait()
            piece = Piece(piece.text + more.text, more.finish, more.error, piece.marks + more.marks)
        if piece.error is not None:
            raise _broken(piece.error)
        return piece

    async def rest(self) -> Piece:
        """All that comes until the end, as one piece.

        Raises:
            RequestError: the model failed.
        """
        pieces = [await self.next()]
        while pieces[-1].finish is None:
            pieces.append(await self.next())
        text = "".join(piece.text for piece in pieces)
        return Piece(text, pieces[-1].finish, marks=tuple(mark for piece in pieces for mark in piece.marks))

    def usage(self) -> dict[str, int]:
        """Token counts so far."""
        return usage_of(len(self._generation.prompt), self._generation.count)

    def close(self) -> None:
        """Want no more."""
        self._generation.cancelled = True
        if self._open:
            self._open = False
            self._left()


class Stream:
    """The events of one talk. A class and not a generator: closing must count even before the first event."""

    def __init__(self, talk: Talk, events: AsyncIterator[bytes]) -> None:
        self._talk, self._events = talk, events

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        return await anext(self._events)

    async def aclose(self) -> None:
        """End the talk."""
        self._talk.close()


async def whole(talk: Talk, head: Head, plan: Plan | None) -> Response:
    """The answer at once; *plan* tells how to read a call in it.

    Raises:
        RequestError: the model failed.
    """
    try:
        text, finish, _, marks = await talk.rest()
    finally:
        talk.close()
    assert finish is not None
    if plan is None:
        return Response(200, head.whole(text, finish, talk.usage(), marks))
    call = Call(plan)
    said, arguments = call.push(text, finish)
    called = None if call.name is None else (call.name, arguments)
    return Response(200, head.whole(said, _end(finish, plan, call), talk.usage(), marks, called))


async def streamed(talk: Talk, head: Head, plan: Plan | None, *, usage: bool) -> Response:
    """The stream once its first piece is there: a request that fails at once is an error and not half a stream.

    Raises:
        RequestError: the model failed at once.
    """
    try:
        first = await talk.next()
    except BaseException:
        talk.close()
        raise
    return Response(200, Stream(talk, _events(talk, head, plan, first, usage=usage)), "text/event-stream")


async def _events(talk: Talk, head: Head, plan: Plan | None, piece: Piece, *, usage: bool) -> AsyncIterator[bytes]:
    call = None if plan is None else Call(plan)
    said = _texts(head) if call is None else _calls(head, call)
    yield said(piece)
    while piece.finish is None:
        try:
            piece = await talk.next()
        except RequestError as error:
            body = error.response().body
            assert isinstance(body, bytes)
            yield event(body)
            return
        if piece.text or piece.marks or (call is not None and piece.finish is not None):
            yield said(piece)
    last = head.piece("", piece.finish if plan is None or call is None else _end(piece.finish, plan, call))
    yield last + (head.usage(talk.usage()) if usage else b"") + DONE


def _texts(head: Head) -> Callable[[Piece], bytes]:
    """Makes events of the pieces of a text."""
    first = True

    def said(piece: Piece) -> bytes:
        nonlocal first
        first, was = False, first
        return head.piece(piece.text, first=was, marks=piece.marks)

    return said


def _calls(head: Head, call: Call) -> Callable[[Piece], bytes]:
    """Makes events of the pieces of an answer that may be a call. Marks wait as their text does."""
    first, held = True, tuple[Mark, ...]()

    def said(piece: Piece) -> bytes:
        nonlocal first, held
        first, was, known = False, first, call.name
        text, arguments = call.push(piece.text, piece.finish)
        name = call.name if known is None else None
        tells = bool(text or arguments or name is not None or piece.finish is not None)
        marks, held = (held + piece.marks, ()) if tells else ((), held + piece.marks)
        return head.call_piece(text, arguments, name=name, first=was, marks=marks)

    return said


def _end(finish: str, plan: Plan, call: Call) -> str:
    """Why an answer is over, as the API says it: a call of the model's own choice is named as the reason."""
    return "tool_calls" if finish == "stop" and call.name is not None and not plan.named else finish


def _broken(error: Exception) -> RequestError:
    """What a client may know about a failure inside: nothing but that it happened."""
    if isinstance(error, ConnectionAbortedError):
        return RequestError(503, "this server is stopping", code="stopping")
    if isinstance(error, TooLargeError):
        return too_large()
    log.error("the model failed", exc_info=error)
    return RequestError(500, "the model failed on this request", code="model_failed")
