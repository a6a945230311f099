"""Who may have what explained, and when: the shape of a request, limits per key, a bounded queue, one at a time."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Annotated, Literal, NamedTuple, Protocol

import msgspec
from msgspec import Meta

from guideway.core.artifact import Digest
from guideway.core.errors import GuidewayError, SpecError
from guideway.core.spec.gateway import Explanations
from guideway.kit.http1 import Request, Response
from guideway.pipeline.stages.explain.attribution import Attribution

MINUTE = 60.0
MOST_VARIANTS = 2000
"""Variants that one explanation may score, so that no other waits for long."""
KEY, MODELS, REQUEST_ID = "x-guideway-key", "x-guideway-models", "x-request-id"
"""Headers that the gateway sets and that no client can: whose request it is, and which models the key may ask."""


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a request. ``answer`` is a text, or the name of a class; by default what the model says."""

    model: str
    text: Annotated[str, Meta(min_length=1, max_length=16_384)]
    answer: Annotated[str, Meta(max_length=16_384)] | None = None
    method: Literal["auto", "occlusion", "shap", "lime"] = "auto"


class Model(Protocol):
    """What explains a release."""

    def variants(self, text: str, method: str) -> int:
        """How many variants of *text* will be scored."""

    def explain(self, text: str, *, answer: str | None, method: str) -> Attribution:
        """Which words of *text* made *answer*."""


class Serving(NamedTuple):
    """What serves now: the name that clients ask for, the release, and what opens it."""

    name: str
    release: Digest
    open: Callable[[], Model]


class Desk:
    """Answers requests. *serving* tells what serves now; *work* runs one explanation at a time; *clock* in seconds."""

    def __init__(
        self,
        options: Explanations,
        serving: Callable[[], Serving | None],
        work: Executor,
        clock: Callable[[], float],
    ) -> None:
        self._options, self._serving, self._work, self._clock = options, serving, work, clock
        self._asked: defaultdict[str, deque[float]] = defaultdict(deque)
        self._waiting = 0
        self._opened: tuple[Digest, Model] | None = None

    async def handle(self, request: Request) -> Response:
        """The answer to *request*: an explanation, or an error in the shape of the OpenAI API."""
        try:
            asked = msgspec.json.decode(request.body, type=Asked)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return refusal(400, f"the body cannot be read: {error}", "invalid_body")
        serving = self._serving()
        if serving is None:
            return refusal(503, "no model serves now; try again", "no_replica", 1)
        allowed = request.headers.get(MODELS, "")
        if asked.model != serving.name or (allowed and serving.name not in allowed.split(",")):
            return refusal(404, f"there is no model {asked.model[:80]!r}", "model_not_found")
        return self._counted(request.headers.get(KEY, "")) or await self._explained(asked, serving)

    def _counted(self, key: str) -> Response | None:
        """Why *key* has to wait; None, and one more is counted, if it need not."""
        now, times = self._clock(), self._asked[key]
        while times and times[0] <= now - MINUTE:
            times.popleft()
        if len(times) >= self._options.per_minute:
            wait = max(1, round(times[0] + MINUTE - now))
            what = f"this key may have {self._options.per_minute} explanations a minute"
            return refusal(429, what, "rate_limit_exceeded", wait)
        if self._waiting > self._options.queue:
            return refusal(503, "too many explanations wait; try again", "overloaded", 5)
        times.append(now)
        return None

    async def _explained(self, asked: Asked, serving: Serving) -> Response:
        self._waiting += 1
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._work, self._explain, asked, serving)
        except SpecError as error:
            return refusal(400, str(error), "invalid_request")
        except (GuidewayError, OSError) as error:
            return refusal(503, f"the release cannot be explained now: {type(error).__name__}", "no_service", 5)
        finally:
            self._waiting -= 1
        head = {"object": "explanation", "model": serving.name, "release": serving.release}
        return Response(200, msgspec.json.encode({**head, **msgspec.to_builtins(found)}))

    def _explain(self, asked: Asked, serving: Serving) -> Attribution:
        """In the one thread that computes: the model stays until another release serves."""
        if self._opened is None or self._opened[0] != serving.release:
            self._opened = None  # before the next one is there: there is room for one
            self._opened = serving.release, serving.open()
        model = self._opened[1]
        variants = model.variants(asked.text, asked.method)
        if variants > MOST_VARIANTS:
            what = f"this asks for {variants:,} variants of the text; {MOST_VARIANTS:,} at the most"
            raise SpecError(what, try_this="a shorter text, or method occlusion")
        return model.explain(asked.text, answer=asked.answer, method=asked.method)


def refusal(status: int, message: str, code: str, retry_after: int = 0) -> Response:
    """An error as the OpenAI API says it."""
    kind = "server_error" if status >= 500 else "invalid_request_error"
    error = {"message": message, "type": kind, "param": None, "code": code}
    headers = (("Retry-After", str(retry_after)),) if retry_after else ()
    return Response(status, msgspec.json.encode({"error": error}), headers=headers)
