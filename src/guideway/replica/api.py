"""The HTTP face of a replica: the OpenAI API over one model."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import TypeVar

import msgspec

from guideway.core.protocols import Clock
from guideway.core.release import ServeSettings
from guideway.kit.http1 import Request, Response
from guideway.replica.generation import Generation
from guideway.replica.sampling import Sampler
from guideway.replica.shapes import DONE, Asked, ChatRequest, CompletionRequest, Head, RequestError, event, usage_of
from guideway.replica.text import ChatTemplateError, StopStrings, Text
from guideway.replica.worker import Outbox, Piece

log = logging.getLogger(__name__)

T = TypeVar("T", bound=Asked)

LONG = 16 * 1024
"""Characters from which a text is tokenized beside the event loop, so that streams do not wait for it."""


class Service:
    """Answers requests with one model.

    Args:
        submit: hands a generation to whoever computes it.
        outbox: how its pieces come back.
        context: tokens of prompt and answer together.
        limit: requests in the house at once, running and waiting; one more is told to come again (429).
    """

    def __init__(
        self,
        settings: ServeSettings,
        text: Text,
        submit: Callable[[Generation], None],
        outbox: Outbox,
        *,
        context: int,
        limit: int,
        clock: Clock = time.time,
        random_bits: Callable[[int], int] = secrets.randbits,
    ) -> None:
        self._settings, self._text, self._submit, self._outbox = settings, text, submit, outbox
        self._context, self._limit, self._clock, self._random_bits = context, limit, clock, random_bits
        self._started = int(clock())
        self._inside = 0
        self.draining = False
        self._routes: dict[str, tuple[str, Callable[[Request], Awaitable[Response]]]] = {
            "/v1/chat/completions": ("POST", self._chat),
            "/v1/completions": ("POST", self._complete),
            "/v1/models": ("GET", self._models),
            "/healthz": ("GET", self._health),
        }

    async def handle(self, request: Request) -> Response:
        """Answer one request; what is wrong with it comes back as an error of the API, never as an exception."""
        method, route = self._routes.get(request.path, ("", None))
        try:
            if route is None:
                raise RequestError(404, f"there is no {request.path}", code="not_found")
            if request.method != method:
                raise RequestError(405, f"{request.path} takes {method}", code="method_not_allowed")
            return await route(request)
        except RequestError as error:
            return error.response()

    async def _chat(self, request: Request) -> Response:
        asked = _decode(request.body, ChatRequest)
        self._admit(asked)
        turns = [message.turn() for message in asked.messages]
        try:
            prompt = await self._tokens(
                lambda: self._text.encode_chat(turns, self._settings.system), *(turn["content"] for turn in turns)
            )
        except ChatTemplateError as error:
            raise RequestError(400, error.what, code="chat_template", param="messages") from None
        return await self._answer(asked, prompt, asked.max_completion_tokens or asked.max_tokens, chat=True)

    async def _complete(self, request: Request) -> Response:
        asked = _decode(request.body, CompletionRequest)
        self._admit(asked)
        said = [asked.prompt] if isinstance(asked.prompt, str) else asked.prompt
        match said:
            case [str() as text]:
                prompt = await self._tokens(lambda: self._text.encode(text), text)
            case _:
                prompt = _known(said, self._text)
        return await self._answer(asked, prompt, asked.max_tokens, chat=False)

    async def _models(self, _: Request) -> Response:
        model = {"id": self._settings.name, "object": "model", "created": self._started, "owned_by": "guideway"}
        return Response(200, msgspec.json.encode({"object": "list", "data": [model]}))

    async def _health(self, _: Request) -> Response:
        status = "draining" if self.draining else "ok"
        return Response(503 if self.draining else 200, msgspec.json.encode({"status": status, "inside": self._inside}))

    def _admit(self, asked: Asked) -> None:
        """Say no before any work is done."""
        if asked.model not in ("", self._settings.name):
            raise RequestError(404, f"there is no model '{asked.model}'", code="model_not_found", param="model")
        asked.refuse_what_we_cannot()
        if self.draining:
            raise RequestError(503, "this server is stopping", code="stopping")
        if self._inside >= self._limit:
            raise RequestError(429, "too many requests at once; come again soon", code="overloaded")

    async def _tokens(self, encode: Callable[[], list[int]], *texts: str) -> list[int]:
        if any(self._text.surely_longer(text, self._context) for text in texts):
            raise self._too_long("far more")
        if sum(map(len, texts)) < LONG:
            return encode()
        return await asyncio.to_thread(encode)

    def _too_long(self, count: int | str) -> RequestError:
        message = f"the context holds {self._context} tokens; the prompt has {count} and leaves no room for an answer"
        return RequestError(400, message, code="context_length_exceeded", param="messages")

    async def _answer(self, asked: Asked, prompt: list[int], max_tokens: int | None, *, chat: bool) -> Response:
        if not prompt:
            raise RequestError(400, "the prompt is empty", param="prompt")
        room = self._context - len(prompt)
        if room < 1:
            raise self._too_long(len(prompt))
        head = Head(
            id=f"{'chatcmpl' if chat else 'cmpl'}-{self._random_bits(96):024x}",
            created=int(self._clock()),
            model=self._settings.name,
            chat=chat,
        )
        talk = self._begin(asked, prompt, min(room, max_tokens or self._settings.decoding.max_tokens))
        if not asked.stream:
            return await _whole(talk, head)
        usage = asked.stream_options is not None and bool(asked.stream_options.include_usage)
        return await _streamed(talk, head, usage=usage)

    def _begin(self, asked: Asked, prompt: list[int], limit: int) -> Talk:
        """Hand the request over; from here on it counts as inside until it is over or left."""
        ours = self._settings.decoding
        seed = asked.seed if asked.seed is not None else ours.seed
        sampler = Sampler(
            ours.temperature if asked.temperature is None else asked.temperature,
            ours.top_p if asked.top_p is None else asked.top_p,
            ours.top_k if asked.top_k is None else asked.top_k,
            self._random_bits(64) if seed is None else seed,
        )
        pieces: asyncio.Queue[Piece] = asyncio.Queue()
        generation = Generation(
            prompt,
            sampler,
            self._text.reader(),
            StopStrings((*ours.stop, *asked.stops)),
            limit=limit,
            stop_ids=self._text.stop_ids,
            emit=lambda piece: self._outbox.put(pieces, piece),
        )
        self._inside += 1
        self._submit(generation)
        return Talk(generation, pieces, self._leave)

    def _leave(self) -> None:
        self._inside -= 1


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
            piece = Piece(piece.text + more.text, more.finish, more.error)
        if piece.error is not None:
            raise _broken(piece.error)
        return piece

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


async def _whole(talk: Talk, head: Head) -> Response:
    try:
        texts: list[str] = []
        finish = None
        while finish is None:
            text, finish, _ = await talk.next()
            texts.append(text)
        return Response(200, head.whole("".join(texts), finish, talk.usage()))
    finally:
        talk.close()


async def _streamed(talk: Talk, head: Head, *, usage: bool) -> Response:
    """The stream once its first piece is there: a request that fails at once is an error and not half a stream."""
    try:
        first = await talk.next()
    except BaseException:
        talk.close()
        raise
    return Response(200, Stream(talk, _events(talk, head, first, usage=usage)), "text/event-stream")


async def _events(talk: Talk, head: Head, piece: Piece, *, usage: bool) -> AsyncIterator[bytes]:
    yield head.piece(piece.text, first=True)
    while piece.finish is None:
        try:
            piece = await talk.next()
        except RequestError as error:
            body = error.response().body
            assert isinstance(body, bytes)
            yield event(body)
            return
        if piece.text:
            yield head.piece(piece.text)
    last = head.piece("", piece.finish)
    yield last + (head.usage(talk.usage()) if usage else b"") + DONE


def _decode(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RequestError(400, f"the request cannot be read: {error}", code="invalid_request") from None


def _known(prompt: Sequence[int | str], text: Text) -> list[int]:
    """A prompt that came as token ids, once all of them are tokens."""
    size = text.tokenizer.get_vocab_size()
    ids = [one for one in prompt if isinstance(one, int) and 0 <= one < size]
    if len(ids) < len(prompt):
        raise RequestError(400, f"the prompt must be one text, or token ids from 0 to {size - 1}", param="prompt")
    return ids


def refusal(status: int) -> Response:
    """What the HTTP server says when there is no request to answer, in the shape of the API."""
    messages = {
        413: "the request is too large",
        431: "the headers are too large",
        500: "something broke on our side",
    }
    return RequestError(status, messages.get(status, HTTPStatus(status).phrase)).response()


def _broken(error: Exception) -> RequestError:
    """What a client may know about a failure inside: nothing but that it happened."""
    if isinstance(error, ConnectionAbortedError):
        return RequestError(503, "this server is stopping", code="stopping")
    log.error("the model failed", exc_info=error)
    return RequestError(500, "the model failed on this request", code="model_failed")
