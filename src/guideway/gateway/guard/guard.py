"""The guard of one release: made once by every worker, asked for every request and every answer."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

from guideway.core.classifier import read_classifier
from guideway.core.guardrails import Guardrails
from guideway.core.outliers import read_reference
from guideway.gateway.errors import ApiError
from guideway.gateway.guard.bounds import out_of_bounds
from guideway.gateway.guard.controls import Controls
from guideway.gateway.guard.escapes import Escapes
from guideway.gateway.guard.markup import Markup
from guideway.gateway.guard.outliers import Outliers, Weighed, judged
from guideway.gateway.guard.revealing import replacing, revealing, without_prompt
from guideway.gateway.guard.said import said
from guideway.gateway.guard.secret import Secrecy, Secret
from guideway.gateway.guard.stream import Limit, Row, TextStream
from guideway.gateway.guard.system import with_system
from guideway.gateway.guard.tokens import field_of_tokens
from guideway.gateway.guard.tools import ToolGate, declared, undeclarable
from guideway.guardrails.denied import Denied, pattern
from guideway.guardrails.prompts import OFF_LOOP, PromptRules

FOR_PROGRAMS = frozenset({"arguments", "embedding", "input", "name"})
"""Channels of an answer that programs read: they keep their markup. People may read any other, known or not."""

Meant = Callable[[float | None], Weighed | ApiError]
"""What becomes of a request, by the share of ordinary ones that are as far off; None: that was not told."""


class Guard:
    """The rules of one release at work.

    Args:
        rules: what lies in its ``guardrails.json``.
        system: its system prompt.
        classifier: the bytes of its classifier; None where ``rules.threshold`` is.
        reference: the bytes of its reference of ordinary prompts; None where ``rules.outlier`` is, or is by meaning.

    Raises:
        ValueError: a rule, the classifier or the reference cannot be read. The release must not be served then.
    """

    def __init__(
        self, rules: Guardrails, system: str = "", classifier: bytes | None = None, reference: bytes | None = None
    ) -> None:
        self._rules, self._system = rules, system
        self._prompts = PromptRules(rules, None if classifier is None else read_classifier(classifier))
        self._outliers = _outliers(rules, reference)
        self._patterns = [pattern(rule.name, rule.pattern) for rule in rules.deny if rule.on != "input"]
        secret = Secret(system) if rules.secret_prompt else None
        self._secret = None if secret is None or secret.empty else secret
        self._tools = None if rules.tools is None else frozenset(rules.tools)

    @property
    def asks(self) -> bool:
        """Has the release rules for prompts beyond the bounds that always hold?"""
        return self._prompts.any or self._tools is not None or self._outliers is not None

    @property
    def looks(self) -> bool:
        """Does anything look at answers?"""
        return self._rules.neutralise or not self.only_neutralises

    @property
    def only_neutralises(self) -> bool:
        """Is there no rule for answers but that active content is taken out?"""
        return self._secret is None and not self._patterns and not self._rules.max_output and self._tools is None

    @property
    def gate(self) -> Callable[[dict[str, Any]], bool] | None:
        """What looks at the calls in an answer to a request that declares no function; None: all may pass."""
        return None if self._tools is None else ToolGate(self._tools).choice

    @property
    def hide(self) -> Callable[[dict[str, Any]], bool] | None:
        """What takes a repeated prompt out of an answer; None: the system prompt is no secret."""
        return None if self._secret is None else without_prompt

    def check(self, body: Mapping[str, Any]) -> ApiError | None:
        """Why *body*, a decoded request of any path, is refused, or None. A rule that fails refuses.

        Looks at what the client wrote: call it before ``with_system``.
        """
        field = None
        try:
            refused = out_of_bounds(body) or undeclarable(body, self._tools)
            if refused is None and self._system:
                refused = replacing(body) or (revealing(body) if self._secret is not None else None)
            if refused is not None or not self._prompts.any:
                return refused
            broken = self._prompts.broken(said(body))
            field = field_of_tokens(body) if broken == "tokens" else None
        except Exception:
            broken = "failed"
        return None if broken is None else self._refusal(broken, field)

    def weigh(self, body: Mapping[str, Any]) -> Weighed | ApiError:
        """How unusual *body* is, which was checked; or why it is refused. A rule that fails refuses, if any may."""
        outliers = self._outliers
        if outliers is None:
            return Weighed()
        try:
            if outliers.refuses and (field := field_of_tokens(body)) is not None:
                return self._refusal("tokens", field)
            return outliers.weigh(body, self._rules.refusal)
        except Exception:
            return self._refusal("failed") if outliers.refuses else Weighed()

    @property
    def meant(self) -> Meant | None:
        """What judges an answer that tells how far off the request is; None: nothing does."""
        rule = self._rules.outlier
        return self._meant if rule is not None and rule.by == "meaning" else None

    def _meant(self, share: float | None) -> Weighed | ApiError:
        """What becomes of a request with this *share*; one whose share was not told is refused, if any may be."""
        rule = self._rules.outlier
        assert rule is not None
        if share is None:
            return self._refusal("failed") if rule.refuse is not None else Weighed()
        return judged(rule, share, self._rules.refusal)

    @property
    def quick(self) -> int:
        """Bytes of a body for which ``check`` need not run beside the event loop; it may, for it changes nothing."""
        return OFF_LOOP if self._prompts.any or self._outliers is not None else sys.maxsize

    def with_system(self, body: dict[str, Any]) -> dict[str, Any]:
        """*body* of a chat with the release's system prompt first; the same object when there is none."""
        return with_system(body, self._system)

    def answer(self, body: Mapping[str, Any]) -> AnswerGuard:
        """The guard of the answer to *body*, which was checked."""
        names = declared(body)
        allowed = self._tools if names is None else names if self._tools is None else names & self._tools
        return AnswerGuard(self, ToolGate(allowed))

    def text(self, channel: str) -> TextStream:
        """A fresh row of transformers for one text of an answer."""
        prose = channel not in FOR_PROGRAMS
        looks = self._secret is not None or bool(self._patterns)
        streams: list[TextStream] = [Controls()] if self._rules.neutralise and prose else []
        if looks and not prose:
            streams.append(Escapes())
        if self._secret is not None:
            streams.append(Secrecy(self._secret))
        if self._patterns:
            streams.append(Denied(self._patterns))
        if self._rules.neutralise and prose:
            streams.append(Markup())
        if self._rules.max_output:
            streams.append(Limit(self._rules.max_output))
        return Row(streams)

    def _refusal(self, broken: str, field: str | None = None) -> ApiError:
        """The same words for every rule: which one it was would help to get around it. *field* is what had tokens."""
        message = self._rules.refusal
        if broken == "max_input":
            message = f"the prompt is longer than {self._rules.max_input} characters"
        if broken == "tokens":
            message = "send the prompt as text: tokens cannot be read here"
        if broken == "failed":
            message = "the request could not be checked"
        return ApiError(400, message, param=field, code="content_filter", kind=broken)


def _outliers(rules: Guardrails, reference: bytes | None) -> Outliers | None:
    rule = rules.outlier if rules.outlier is not None and rules.outlier.by == "words" else None
    if (rule is None) is not (reference is None):
        raise ValueError("a rule for outliers and a reference of ordinary prompts come together")
    return None if rule is None or reference is None else Outliers(rule, read_reference(reference))


class AnswerGuard:
    """What watches one answer: ``text`` makes a stream per choice and channel, ``tools`` looks at each choice."""

    __slots__ = ("_guard", "tools")

    def __init__(self, guard: Guard, tools: ToolGate) -> None:
        self._guard = guard
        self.tools = tools

    def text(self, channel: str) -> TextStream:
        """A stream for one text: ``content``, ``text``, ``refusal``, ``reasoning_content``, ``arguments`` …"""
        return self._guard.text(channel)
