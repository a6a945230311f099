"""What a release asks of whoever serves it."""

from __future__ import annotations

import msgspec

from guideway.core.guardrails import Guardrails
from guideway.core.privacy import Action, Entity


class Terms(msgspec.Struct, frozen=True):
    """What a release asks of whoever serves it; read from inside the release, so no environment can lower it.

    ``system`` is put before every conversation; ``masking`` is the least that is done with personal data;
    ``temperature`` and ``max_tokens`` hold where a request names none; ``classifier`` is the file of that of
    the guardrails on this host, ``outliers`` that of the reference of ordinary prompts, and ``tokenizer`` that of the
    model, or empty. ``fields`` are all that a body may hold besides what plain requests do, where the model server
    would obey more than the gateway reads; empty: any. ``marks`` are taken out of conversations, where it would take
    them for the beginning or the end of a turn.
    """

    system: str = ""
    cacheable: bool = True
    masking: dict[Entity, Action] = msgspec.field(default_factory=dict)
    temperature: float = 0.0
    max_tokens: int = 0
    guardrails: Guardrails = Guardrails()
    classifier: str = ""
    tokenizer: str = ""
    fields: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()
    outliers: str = ""
