"""One golden prompt, answered by both arms of a route as their users would be answered.

Straight to the replicas: the gateway would count the request, charge it to a key, draw its arm and keep its answer. The
steps of the gateway are taken all the same, from the same code: the release's guardrails and system prompt, masking,
and the look at the answer.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from guideway.core.artifact import Digest
from guideway.core.assignment import ArmName
from guideway.core.errors import GuidewayError
from guideway.core.route import Arm, Endpoint, Route
from guideway.core.spec.gateway import Gateway
from guideway.core.spec.golden import Golden
from guideway.fleet.golden import Absent, Replayed
from guideway.gateway.errors import ApiError
from guideway.gateway.prepare import Preparation, Prepared, rewritten
from guideway.gateway.request import Request, peek_at
from guideway.kit.call import NoAnswer, call, request
from guideway.rollout.golden import Prompt

ANSWER_LIMIT = 4 << 20
"""Bytes of an answer."""
TRIES = 2
"""Replicas that are asked before an arm has failed to answer, as in the gateway."""
AGAIN = frozenset({429, 502, 503, 504})

_CHAT, _TEXT = "/v1/chat/completions", "/v1/completions"


class Replay:
    """Asks the arms of *route* while it is about *stable* and *candidate*; *route* is called for every prompt.

    *options* are those of the environment's gateway. ``given_up`` ends what is under way.
    """

    def __init__(
        self,
        settings: Golden,
        options: Gateway,
        route: Callable[[], Route | None],
        stable: Digest,
        candidate: Digest,
    ) -> None:
        self._settings, self._options, self._route = settings, options, route
        self._releases: dict[ArmName, Digest] = {"stable": stable, "candidate": candidate}
        self._preparations: dict[Digest, tuple[Arm, Preparation]] = {}
        self._turn = 0

    def ask(self, prompt: Prompt, given_up: Callable[[], bool]) -> Replayed:
        """Ask both arms for their answer to *prompt*, one after the other.

        Raises:
            Absent: one of them is not there, or cannot be asked from here.
        """
        route = self._route()
        arms = {name: self._arm(route, name) for name in self._releases}
        model = route.model if route is not None else ""
        self._turn += 1
        # Which is first changes, so that an incident that begins in between does not always hit the same arm.
        order: tuple[ArmName, ...] = ("stable", "candidate") if self._turn % 2 else ("candidate", "stable")
        texts: dict[ArmName, str | None] = {}
        reasons = []
        for name in order:
            try:
                texts[name] = self._answer(arms[name], model, prompt, given_up)
            except NoAnswer as error:
                texts[name] = None
                reasons.append(f"the {name} release did not answer '{prompt.id}': {error}")
            if given_up():
                raise Absent("the rollout is over")
        return Replayed(texts["candidate"], texts["stable"], "; ".join(reasons))

    def _arm(self, route: Route | None, name: ArmName) -> Arm:
        arm: Arm | None = getattr(route, name, None)
        if arm is None or arm.release != self._releases[name] or not arm.endpoints:
            raise Absent(f"the {name} release has no replica")
        return arm

    def _answer(self, arm: Arm, model: str, prompt: Prompt, given_up: Callable[[], bool]) -> str:
        asked = self._request(arm, model, prompt)
        prepared = self._prepared(arm, asked)
        body = self._body(arm, asked.path.decode(), prepared.body, given_up)
        try:
            return _text(rewritten(prepared, body).body)
        except ValueError as error:
            raise NoAnswer(str(error)) from None

    def _request(self, arm: Arm, model: str, prompt: Prompt) -> Request:
        """As a client would have written it, but for the temperature: no dice in what is compared."""
        if arm.probe is not None and arm.probe.proves == "class":
            return _made(arm.probe.path, _inference(prompt))
        body: dict[str, object] = {"model": model, "temperature": 0}
        path = _CHAT
        if prompt.messages:
            body["messages"] = prompt.messages
        elif arm.probe is not None and arm.probe.path == _TEXT:
            path, body["prompt"] = _TEXT, prompt.prompt
        else:
            body["messages"] = [{"role": "user", "content": prompt.prompt}]
        if self._settings.max_tokens:
            body["max_tokens"] = self._settings.max_tokens
        return _made(path, body)

    def _prepared(self, arm: Arm, asked: Request) -> Prepared:
        wanted = peek_at(asked)
        ready = wanted if isinstance(wanted, ApiError) else self._preparation(arm).prepare(asked, wanted, 0)
        if isinstance(ready, ApiError):
            raise NoAnswer(f"refused before a replica saw it: {ready.message}")
        return ready

    def _preparation(self, arm: Arm) -> Preparation:
        kept = self._preparations.get(arm.release)
        if kept is None or kept[0].terms != arm.terms:
            try:
                kept = arm, Preparation(self._options, arm.terms)
            except (ValueError, OSError, ImportError, GuidewayError) as error:
                raise Absent(f"the rules of {arm.release} cannot be read: {error}") from None
            self._preparations[arm.release] = kept
        return kept[1]

    def _body(self, arm: Arm, path: str, body: bytes, given_up: Callable[[], bool]) -> bytes:
        why = ""
        for turn in range(TRIES):
            endpoint = arm.endpoints[(self._turn + turn) % len(arm.endpoints)]
            try:
                status, said = self._call(endpoint, path, body, given_up)
            except NoAnswer as error:
                why = str(error)
                continue
            if status == 200:
                return said
            why = f"status {status}"
            if status not in AGAIN:
                break
        raise NoAnswer(why)

    def _call(self, to: Endpoint, path: str, body: bytes, given_up: Callable[[], bool]) -> tuple[int, bytes]:
        host = f"[{to.host}]" if ":" in to.host else to.host
        data = request("POST", path, f"{host}:{to.port}", body, (("Content-Type", "application/json"),))
        seconds = self._settings.timeout
        return call((to.host, to.port), data, seconds=seconds, limit=ANSWER_LIMIT, given_up=given_up)


def _made(path: str, body: object) -> Request:
    made = Request()
    made.method, made.path, made.body = b"POST", path.encode(), msgspec.json.encode(body)
    return made


def _inference(prompt: Prompt) -> object:
    """A prompt for a classifier: its text, or the last one of its messages."""
    text = prompt.messages[-1].content if prompt.messages else prompt.prompt
    return {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": [text]}]}


class _Message(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    text: str | None = None
    message: _Message | None = None


class _Output(msgspec.Struct):
    name: str
    data: list[object]


class _Completion(msgspec.Struct):
    choices: list[_Choice] = []
    outputs: list[_Output] = []


def _text(body: bytes) -> str:
    """What the first choice of an answer says, or the label of a text; nothing, where it says it without text."""
    try:
        found = msgspec.json.decode(body, type=_Completion)
    except (msgspec.DecodeError, RecursionError):
        found = _Completion()
    labels = [one.data[0] for one in found.outputs if one.name == "label" and one.data]
    if labels:
        return str(labels[0])
    choices = found.choices
    if not choices:
        raise ValueError("what came is not the answer of a model")
    message = choices[0].message or _Message(choices[0].text)
    return message.content or ""
