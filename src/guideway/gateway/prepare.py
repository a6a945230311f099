"""What becomes of a prompt before a replica sees it, and of an answer before the client does.

The steps are those of the arm that answers: its release's guardrails and system prompt, and the masking that the
stricter of release and environment asks for. Whatever fails here refuses the request: nothing goes out unlooked at.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from guideway.core.spec.gateway import Gateway
from guideway.core.terms import Terms
from guideway.gateway.affinity import prefix_of
from guideway.gateway.cache.repeatable import COMPUTED
from guideway.gateway.channels import Make
from guideway.gateway.corrections import Correction, Corrections
from guideway.gateway.errors import ApiError, bad_body
from guideway.gateway.guard import AnswerGuard, Guard
from guideway.gateway.guard.guard import FOR_PROGRAMS, Meant
from guideway.gateway.guard.outliers import Weighed
from guideway.gateway.guard.stream import Row
from guideway.gateway.guard.tokens import field_of_tokens
from guideway.gateway.marks import marks_of, without_marks
from guideway.gateway.masking import FAILED, Masking, unreadable
from guideway.gateway.masking import Prepared as Masked
from guideway.gateway.names import decoded, understood
from guideway.gateway.request import Peek, Plain, Request, asking_for_usage
from guideway.gateway.rewrite import AnswerRewriter, Gate
from guideway.gateway.usage import Told
from guideway.privacy.detect import find
from guideway.privacy.stream import Chain, TextStream

_STREAMED = frozenset({b"/v1/chat/completions", b"/v1/completions"})
_CHAT = b"/v1/chat/completions"
_ACTIVE = re.compile(r"[<\]\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\U000e0000-\U000e007f]|!\[")
"""What the neutraliser of answers may act on; a test holds it against the neutraliser itself."""


class Prepared(msgspec.Struct):
    """A request ready for a replica, and how its answer is looked at.

    ``strip``: the usage was asked for by us, so its event is taken out again. ``prefix`` stands for the beginning of
    the prompt, ``digest`` for what is done to prompts here, ``kinds`` for the personal data that was masked.
    ``hide`` takes fields out of an answer that would repeat a secret prompt. ``make`` None: the answer passes as it
    is. ``quiet`` tells of a whole answer that it can do so all the same. ``asked`` is what the client wrote, masked.
    ``weighed`` is how unusual that is; with ``meant`` the answer tells it. ``fixed`` is the correction that says what
    is answered, without a replica, and ``corrected`` takes the names of those that change its words.
    """

    body: bytes
    strip: bool = False
    prefix: int = 0
    kinds: tuple[str, ...] = ()
    digest: bytes = b""
    make: Make | None = None
    gate: Gate | None = None
    quiet: Callable[[bytes, Told], bool] | None = None
    hide: Gate | None = None
    asked: bytes = b""
    weighed: Weighed = Weighed()
    fixed: Correction | None = None
    corrected: set[str] | None = None
    meant: Meant | None = None

    def rewriter(self) -> AnswerRewriter | None:
        """Who changes the answer, one for every answer; None: nobody has to."""
        return AnswerRewriter(self.make, self.gate, self.hide) if self.make is not None else None

    def passes(self, body: bytes, told: Told | None) -> bool:
        """Can the whole answer *body*, of which *told* was read, pass as it is?"""
        return self.make is None or (self.quiet is not None and told is not None and self.quiet(body, told))


class Preparation:
    """The steps for requests to one release in one environment; made once for every route that names it.

    *corrections* are those of the environment, which may change at any time.

    Raises:
        ValueError: its rules cannot be read. It must not be served then.
    """

    def __init__(self, options: Gateway, terms: Terms, corrections: Corrections | None = None) -> None:
        classifier, outliers = (
            Path(path).read_bytes() if path else None for path in (terms.classifier, terms.outliers)
        )
        self.guard = Guard(terms.guardrails, terms.system, classifier, outliers)
        self._corrections = corrections or Corrections(lambda: 0.0)
        self.masking = masking_of(options, terms)
        self._system, self._fields, self._marks = bool(terms.system), frozenset(terms.fields), terms.marks
        self._gate, self._hide = self.guard.gate, self.guard.hide
        looked_at = self.guard.looks or self.masking.looks
        self._make = partial(self._stream, self.guard, self.masking.clean) if looked_at else None
        self._meant = self.guard.meant
        self._neutralises = terms.guardrails.neutralise
        self._quiet = self._nothing_in if self._gate is None and self.guard.only_neutralises else None
        self._unread = not (
            self.guard.asks or self.masking.asks or self.masking.is_lacking or self._system or self._marks
        )
        if terms.tokenizer and not self._marks and (self.guard.asks or self.masking.asks):
            self._marks = marks_of(Path(terms.tokenizer))  # the model server takes them out: rules read what is left
        self.quick = min(self.masking.quick, self.guard.quick)
        """Bytes of a body for which ``prepare`` need not run beside the loop."""

    def prepare(self, request: Request, wanted: Peek, affinity: int) -> Prepared | ApiError:
        """What a replica is sent for *request*, or why it is refused. Rules judge what the client wrote itself."""
        if self._unread and request.plain and not wanted.stream and not self._corrections.any:
            prefix, digest = prefix_of(request.path, request.body, affinity) if affinity else 0, self.masking.digest
            body, make = request.body, None if request.path in COMPUTED else self._make
            meant = self._meant if body else None
            return Prepared(
                body, False, prefix, (), digest, make, self._gate, self._quiet, self._hide, body, meant=meant
            )
        try:
            return self._read(request, wanted, affinity)
        except RecursionError:
            return bad_body("the body is nested too deeply")

    def _read(self, request: Request, wanted: Peek, affinity: int) -> Prepared | ApiError:
        path = request.path
        looked = self._understood(request, wanted)
        if isinstance(looked, ApiError):
            return looked
        body, data, weighed = looked
        if data is not None and self.masking.asks and (field := field_of_tokens(data)) is not None:
            return unreadable(field)
        masked = self.masking.prepare(body) if body else Masked(b"", None, frozenset())
        if isinstance(masked, ApiError):
            return masked
        body = masked.body
        if self._system and path == _CHAT:
            body = msgspec.json.encode(self.guard.with_system(msgspec.json.decode(body)))
        watch = self.guard.answer(data) if wanted.has_tools and isinstance(data, dict) else None
        gate = watch.tools.choice if watch is not None else self._gate
        strip = bool(wanted.stream) and wanted.stream_options is None and path in _STREAMED
        corrected: set[str] | None = set() if self._corrections.of_answers else None
        alone = gate is None and not masked.restores and corrected is None and self.guard.only_neutralises
        make = None if path in COMPUTED else self._make_for(masked, watch, corrected)  # numbers have no text
        return Prepared(
            asking_for_usage(body) if strip else body,
            strip,
            prefix_of(path, request.body, affinity) if affinity else 0,
            tuple(sorted(masked.kinds)) if masked.kinds else (),
            self.masking.digest,
            make,
            gate,
            self._nothing_in if alone else None,
            self._hide,
            masked.body,
            weighed,
            self._corrections.answer(data) if isinstance(data, dict) and path in _STREAMED else None,
            corrected,
            self._meant if body else None,
        )

    def _understood(self, request: Request, wanted: Peek) -> tuple[bytes, Any, Weighed] | ApiError:
        """The body without marks, what it says, as far as anybody here has to know it, and how unusual that is."""
        body, marks = request.body, self._marks if request.path == _CHAT else ()
        if body and (self.guard.asks or not request.plain or self._corrections.any):
            data = (decoded if isinstance(wanted, Plain) else understood)(body)
            if marks and not isinstance(data, ApiError):
                body = without_marks(marks, body)
                data = msgspec.json.decode(body)
            judged = self._judged(data)
            return judged if isinstance(judged, ApiError) else (body, data, judged)
        return (without_marks(marks, body) if marks and body else body), None, Weighed()

    def _beyond(self, data: Any) -> ApiError | None:
        """Why *data* is refused: it has a field that the model server, but not the gateway, would understand."""
        if not self._fields or not isinstance(data, dict):
            return None
        name = min(data.keys() - self._fields, default=None)
        return None if name is None else bad_body(f"the field {name[:80]!r} is not supported by this model", name[:80])

    def _judged(self, data: Mapping[str, Any] | ApiError) -> Weighed | ApiError:
        """How unusual the decoded body *data* is, or why it is refused."""
        refused = data if isinstance(data, ApiError) else self._beyond(data) or self.guard.check(data)
        return self.guard.weigh(data) if refused is None and not isinstance(data, ApiError) else refused or FAILED

    def _make_for(self, masked: Masked, watch: AnswerGuard | None, corrected: set[str] | None) -> Make | None:
        """Who looks at the texts of one answer; *corrected* takes the names of corrections."""
        if watch is None and corrected is None and not masked.restores:
            return self._make
        return partial(self._stream, watch or self.guard, masked.stream, corrected=corrected)

    def _stream(
        self, rules: Guard | AnswerGuard, unmask: Make | None, channel: str, *, corrected: set[str] | None = None
    ) -> TextStream:
        """The way of one text: what the model says of others is concealed, the caller's own put back, rules last."""
        ruled = rules.text(channel)
        if corrected is not None and channel not in FOR_PROGRAMS:
            ruled = Row([self._corrections.stream(corrected.add), ruled])
        return ruled if unmask is None else Chain([unmask(channel), ruled])

    def _nothing_in(self, body: bytes, told: Told) -> bool:
        """Is there surely nothing in the whole answer *body* that would be changed?

        Controls stand in JSON as escapes, or are no ASCII, so that their absence is seen without reading the texts.
        """
        texts = told.texts()
        if texts is None:
            return False
        plain = body.isascii() and not (b"\\u" in body or b"\\b" in body or b"\\f" in body or b"\x7f" in body)
        for text in texts:
            if self._neutralises and (
                "<" in text or "]" in text or "![" in text or (not plain and _ACTIVE.search(text))
            ):
                return False
            if not self.masking.quiet(text):
                return False
        return True


class Rewritten(NamedTuple):
    """A whole answer as the client may see it; ``stopped``: a rule ended it."""

    body: bytes
    stopped: bool


def rewritten(prepared: Prepared, body: bytes) -> Rewritten:
    """The whole answer *body* as the client may see it.

    Raises:
        ValueError: it cannot be looked at.
    """
    rewriter = prepared.rewriter()
    return Rewritten(rewriter.whole(body), rewriter.stopped) if rewriter is not None else Rewritten(body, False)


def masking_of(options: Gateway, terms: Terms) -> Masking:
    """What *options* of the environment and *terms* of a release demand together."""
    return Masking(options.masking, terms.masking, _with_names() if options.masking.presidio else find)


def _with_names() -> Any:
    from guideway.privacy.presidio import WithNames, load_analyzer

    return WithNames(load_analyzer())
