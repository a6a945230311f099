"""The HTTP face of a replica: the OpenAI API over one model."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import TypeVar

import msgspec

from guideway.core.protocols import Clock
from guideway.core.release import ServeSettings
from guideway.kit.http1 import Request, Response
from guideway.replica.answers import Head
from guideway.replica.chat import knows_tools
from guideway.replica.constrain.constraint import Form
from guideway.replica.form import constraint_of, form_of
from guideway.replica.generation import Generation
from guideway.replica.sampling import Sampler
from guideway.replica.shapes import Asked, ChatRequest, CompletionRequest, RequestError
from guideway.replica.spelling import Spelling
from guideway.replica.steering import Steering
from guideway.replica.talk import Talk, streamed, whole
from guideway.replica.text import ChatTemplateError, NotIds, StopStrings, Text
from guideway.replica.tools import END, MARK, Plan, plan_of
from guideway.replica.worker import Outbox, Piece

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
        self._spelling = Spelling(text.tokenizer)
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
        plan = plan_of(asked.tools, asked.tool_choice, marked=self._text.writes(MARK, END))
        self._refuse_unknown_tools(asked, plan)
        offered = [] if plan is None else msgspec.to_builtins(plan.tools)
        texts = [msgspec.json.encode(one).decode() for one in (*turns, *offered)]
        try:
            prompt = await self._tokens(lambda: self._text.encode_chat(turns, self._settings.system, offered), *texts)
        except ChatTemplateError as error:
            raise RequestError(400, error.what, code="chat_template", param="messages") from None
        form = form_of(asked.response_format) if plan is None else plan.form
        return await self._answer(asked, prompt, asked.max_completion_tokens or asked.max_tokens, form, plan)

    async def _complete(self, request: Request) -> Response:
        asked = _decode(request.body, CompletionRequest)
        self._admit(asked)
        said = [asked.prompt] if isinstance(asked.prompt, str) else asked.prompt
        match said:
            case [str() as text]:
                try:
                    prompt = await self._tokens(lambda: self._text.encode(text), text)
                except NotIds as error:
                    raise RequestError(400, str(error), code="no_tokenizer", param="prompt") from None
            case _:
                prompt = _known(said, self._text)
        return await self._answer(asked, prompt, asked.max_tokens)

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

    def _refuse_unknown_tools(self, asked: ChatRequest, plan: Plan | None) -> None:
        if (plan or any(message.about_tools for message in asked.messages)) and not knows_tools(self._text.template):
            raise RequestError(
                400, "the chat template of this model knows no tools", code="unsupported_parameter", param="tools"
            )
        if plan and form_of(asked.response_format) is not None:
            raise RequestError(400, "an answer is a call or has a response_format, not both", param="response_format")

    async def _tokens(self, encode: Callable[[], list[int]], *texts: str) -> list[int]:
        if any(self._text.surely_longer(text, self._context) for text in texts):
            raise self._too_long("far more")
        if sum(map(len, texts)) < LONG:
            return encode()
        return await asyncio.to_thread(encode)

    def _too_long(self, count: int | str) -> RequestError:
        message = f"the context holds {self._context} tokens; the prompt has {count} and leaves no room for an answer"
        return RequestError(400, message, code="context_length_exceeded", param="messages")

    def _head(self, asked: Asked, plan: Plan | None, prompt: Sequence[int]) -> Head:
        chat = isinstance(asked, ChatRequest)
        return Head(
            id=f"{'chatcmpl' if chat else 'cmpl'}-{self._random_bits(96):024x}",
            created=int(self._clock()),
            model=self._settings.name,
            chat=chat,
            spell=None if asked.top is None else self._spelling,
            call="" if plan is None else f"call_{self._random_bits(96):024x}",
            prompt_ids=tuple(prompt) if asked.return_token_ids else None,
        )

    async def _answer(
        self,
        asked: Asked,
        prompt: list[int],
        max_tokens: int | None,
        form: Form | None = None,
        plan: Plan | None = None,
    ) -> Response:
        if not prompt:
            raise RequestError(400, "the prompt is empty", param="prompt")
        room = self._context - len(prompt)
        if room < 1:
            raise self._too_long(len(prompt))
        trigger = "" if plan is None else plan.trigger
        if form is not None and not trigger and asked.stops:
            raise RequestError(400, "stop could end an answer before it has its form", param="stop")
        steering = await self._steering(asked, form, trigger)
        head = self._head(asked, plan, prompt)
        talk = self._begin(asked, prompt, min(room, max_tokens or self._settings.decoding.max_tokens), steering)
        if not asked.stream:
            return await whole(talk, head, plan)
        usage = asked.stream_options is not None and bool(asked.stream_options.include_usage)
        return await streamed(talk, head, plan, usage=usage)

    async def _steering(self, asked: Asked, form: Form | None, trigger: str) -> Steering | None:
        """What is to be done to the scores; None: nothing."""
        constraint = None
        if form is not None:  # beside the loop: a large schema takes a while, and so do a tokenizer's bytes, once
            constraint = await asyncio.to_thread(constraint_of, form, self._spelling, self._text.stop_ids, trigger)
        bias = {int(token): value for token, value in (asked.logit_bias or {}).items()}
        frequency, presence = asked.frequency_penalty or 0.0, asked.presence_penalty or 0.0
        if not (bias or frequency or presence or constraint):
            return None
        return Steering(bias, frequency, presence, constraint)

    def _begin(self, asked: Asked, prompt: list[int], limit: int, steering: Steering | None) -> Talk:
        """Hand the request over; from here on it counts as inside until it is over or left."""
        pieces: asyncio.Queue[Piece] = asyncio.Queue()
        generation = Generation(
            prompt,
            self._sampler(asked),
            self._text.reader(),
            StopStrings((*self._settings.decoding.stop, *asked.stops)),
            limit=limit,
            stop_ids=self._text.stop_ids,
            emit=lambda piece: self._outbox.put(pieces, piece),
            steering=steering,
            top=asked.top if asked.top is not None or not asked.return_token_ids else 0,  # a mark tells the token
        )
        self._inside += 1
        self._submit(generation)
        return Talk(generation, pieces, self._leave)

    def _sampler(self, asked: Asked) -> Sampler:
        ours = self._settings.decoding
        seed = asked.seed if asked.seed is not None else ours.seed
        return Sampler(
            ours.temperature if asked.temperature is None else asked.temperature,
            ours.top_p if asked.top_p is None else asked.top_p,
            ours.top_k if asked.top_k is None else asked.top_k,
            self._random_bits(64) if seed is None else seed,
        )

    def _leave(self) -> None:
        self._inside -= 1


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
