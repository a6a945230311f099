"""What a request says, as the rules for prompts read it."""

from __future__ import annotations

import msgspec


class Said(msgspec.Struct, frozen=True):
    """The texts of one request.

    ``texts`` are those of prompts, ``aside`` what else a model may read: parts of a text put together, names, roles,
    the shape of the answer. ``asked`` are the texts of users, one group for every prompt; ``told`` those that a client
    gives as instructions, ``given`` those that it gives as the words of models and tools. ``tokens``: some came as
    tokens, which nobody reads.
    """

    texts: tuple[str, ...]
    aside: tuple[str, ...]
    asked: tuple[tuple[str, ...], ...]
    told: tuple[str, ...]
    given: tuple[str, ...]
    tokens: bool = False

    @property
    def size(self) -> int:
        """Characters of the prompts."""
        return sum(map(len, self.texts))


def asked_alone(prompt: str) -> Said:
    """What a request says whose only message is *prompt*, of a user."""
    return Said((prompt,), (), ((prompt,),), (), ())
