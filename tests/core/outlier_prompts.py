"""Ordinary prompts of a made-up service, and some that are not: what the tests of outliers stand on."""

from __future__ import annotations

import random

_OPENINGS = (
    "please",
    "could you",
    "can you",
    "i want to",
    "i need to",
    "help me to",
    "let me",
    "how do i",
    "is it ok to",
)
_VERBS = ("open", "close", "check", "move", "pay", "change", "find", "share", "print", "cancel", "renew", "report")
_THINGS = ("account", "card", "invoice", "order", "address", "booking", "password", "loan", "statement", "limit")
_ENDS = ("today", "for me", "before friday", "by tomorrow", "again", "at once", "this week", "from my phone", "in town")

STRANGE = (
    "床前明月光，疑是地上霜。举头望明月，低头思故乡。",
    "SELECT * FROM users WHERE name = '' OR 1=1; DROP TABLE users; --",
    "zxqv jjwk qqpt vvbn xxkz wwqj",
    "¿¿¿¡¡¡§§§¶¶¶",
    "please open my account today. " * 60,
)


def ordinary(count: int, seed: int = 7) -> list[str]:
    """*count* different prompts, drawn."""
    every = [
        f"{opening} {verb} my {thing} {end}"
        for opening in _OPENINGS
        for verb in _VERBS
        for thing in _THINGS
        for end in _ENDS
    ]
    return random.Random(seed).sample(every, count)
