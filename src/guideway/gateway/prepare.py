"""What becomes of a prompt before a replica sees it, and of an answer before the client does.

The steps are those of the arm that answers: its release's guardrails and system prompt, and the masking that the
stricter of release and environment asks for. Whatever fails here refuses the request: nothing goes out unlooked at.
"""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from guideway.gateway.affinity import prefix_of
from guideway.gateway.errors import ApiError
from guideway.gateway.request import Peek, Request, asking_for_usage
from guideway.gateway.routing import ServingArm

_STREAMED = frozenset({b"/v1/chat/completions", b"/v1/completions"})


class Rewriter(Protocol):
    """Changes one answer on its way to the client; see `rewrite.py`."""

    stopped: bool

    def whole(self, body: bytes) -> bytes:
        """A whole answer.

        Raises:
            ValueError: it is none that can be looked at.
        """

    def feed(self, data: bytes) -> bytes:
        """Further events of a stream."""

    def end(self) -> bytes:
        """What was held back."""


class Prepared(msgspec.Struct):
    """A request ready for a replica. ``strip``: the usage was asked for by us, so its event is taken out again.

    ``prefix`` stands for the beginning of the prompt, ``digest`` for all that was done to it, ``kinds`` for the
    personal data that was masked.
    """

    body: bytes
    strip: bool = False
    prefix: int = 0
    rewriter: Any = None
    kinds: tuple[str, ...] = ()
    digest: bytes = b""


def prepare(arm: ServingArm, request: Request, wanted: Peek, affinity: int) -> Prepared | ApiError:
    """What a replica of *arm* is sent for *request*; a stream is asked to tell its usage, for that is counted."""
    del arm
    body, path = request.body, request.path
    prefix = prefix_of(path, body, affinity)
    strip = bool(wanted.stream) and wanted.stream_options is None and path in _STREAMED
    return Prepared(asking_for_usage(body) if strip else body, strip, prefix)
