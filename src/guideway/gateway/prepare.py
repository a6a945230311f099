"""What becomes of a prompt before a replica sees it, and of an answer before the client does.

The steps are those of the arm that answers: its release's guardrails and system prompt, and the masking that the
stricter of release and environment asks for. Whatever fails here refuses the request: nothing goes out unlooked at.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from guideway.core.privacy import in_force
from guideway.core.spec.gateway import Gateway
from guideway.core.terms import Terms
from guideway.gateway.affinity import prefix_of
from guideway.gateway.errors import ApiError, bad_body
from guideway.gateway.guard import AnswerGuard, Guard
from guideway.gateway.masking import Masked, Masking
from guideway.gateway.request import Peek, Request, asking_for_usage
from guideway.gateway.rewrite import AnswerRewriter
from guideway.privacy.detect import suspicious
from guideway.privacy.mask import Vault
from guideway.privacy.stream import Chain, TextStream

SLOW_BYTES = 32 * 1024
"""A body this large is looked at beside the loop: others would have to wait."""
_STREAMED = frozenset({b"/v1/chat/completions", b"/v1/completions"})
_CHAT = b"/v1/chat/completions"
_ACTIVE = re.compile(r"[<\]\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\U000e0000-\U000e007f]|!\[")
"""What the neutraliser of answers may act on; a test holds it against the neutraliser itself."""


class Prepared(msgspec.Struct):
    """A request ready for a replica. ``strip``: the usage was asked for by us, so its event is taken out again.

    ``prefix`` stands for the beginning of the prompt, ``digest`` for what is done to prompts here, ``kinds`` for the
    personal data that was masked.
    """

    body: bytes
    strip: bool = False
    prefix: int = 0
    rewriter: AnswerRewriter | None = None
    kinds: tuple[str, ...] = ()
    digest: bytes = b""


class Preparation:
    """The steps for requests to one release in one environment; made once for every route that names it.

    Raises:
        ValueError: its rules cannot be read. It must not be served then.
    """

    def __init__(self, options: Gateway, terms: Terms) -> None:
        classifier = Path(terms.classifier).read_bytes() if terms.classifier else None
        self.guard = Guard(terms.guardrails, terms.system, classifier)
        actions = in_force(options.masking.entities, terms.masking)
        finder = _with_names() if options.masking.presidio else None
        self.masking = Masking(actions, output=options.masking.output, **({"finder": finder} if finder else {}))
        self._always_slow = options.masking.presidio
        self._system = bool(terms.system)
        self._asks = self.guard.asks
        self._looks = self.guard.looks
        self._neutralises = terms.guardrails.neutralise

    def is_slow(self, request: Request) -> bool:
        """Should ``prepare`` run beside the loop?"""
        return self._always_slow or len(request.body) > SLOW_BYTES

    def prepare(self, request: Request, wanted: Peek, affinity: int) -> Prepared | ApiError:
        """What a replica is sent for *request*, or why it is refused."""
        body, path = request.body, request.path
        data: dict[str, Any] | None = None
        if body and (self._asks or not wanted.is_plain or (self._system and path == _CHAT)):
            try:
                data = msgspec.json.decode(body)
            except msgspec.DecodeError as bad:  # a number that no one can hold
                return bad_body(f"the body is not JSON: {bad}")
            error = self.guard.check(data) if data is not None else None
            if error is not None:
                return error
        masked = self.masking.mask(body, data)
        if isinstance(masked, ApiError):
            return masked
        changed = masked.vault is not None
        if path == _CHAT and self._system and masked.data is not None:
            masked.data, changed = self.guard.with_system(masked.data), True
        if changed:
            body = msgspec.json.encode(masked.data)
        strip = bool(wanted.stream) and wanted.stream_options is None and path in _STREAMED
        return Prepared(
            asking_for_usage(body) if strip else body,
            strip,
            prefix_of(path, request.body, affinity),
            self._rewriter(masked, data if wanted.has_tools else None),
            masked.kinds,
            self.masking.digest,
        )

    def _rewriter(self, masked: Masked, asked: dict[str, Any] | None) -> AnswerRewriter | None:
        """Who changes the answer; None: nobody has to."""
        watch = self.guard.answer(asked) if asked is not None else None
        vault = masked.vault
        if vault is None and not self.masking.output and not self._looks and watch is None:
            return None
        gate = watch.tools.choice if watch is not None else self.guard.gate
        return AnswerRewriter(partial(self._stream, watch, vault), gate, self._quiet(vault, gate is not None))

    def _stream(self, watch: AnswerGuard | None, vault: Vault | None, channel: str) -> TextStream:
        """The way of one text: what the model says of others is concealed, the caller's own put back, rules last."""
        streams = [self.masking.stream(channel, vault), (watch or self.guard).text(channel)]
        return Chain([one for one in streams if one is not None])

    def _quiet(self, vault: Vault | None, gated: bool) -> Callable[[str], bool] | None:
        """Tells of a whole text that nothing in it can change; None where that takes more than a look."""
        if vault is not None or gated or not self.guard.only_neutralises:
            return None
        return self._nothing_in

    def _nothing_in(self, text: str) -> bool:
        if self._neutralises and _ACTIVE.search(text) is not None:
            return False
        return not self.masking.output or not suspicious(text)


def _with_names() -> Any:
    from guideway.privacy.presidio import WithNames, load_analyzer

    return WithNames(load_analyzer())
