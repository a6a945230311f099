"""What goes wrong with prompts in real life: typing errors, look-alike letters, capitals, cut ends, noise. Pure."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

EVERY = 20
"""Characters for each of which there is one typing error, or one look-alike letter."""
CUT = 0.1
"""The share of a prompt that truncation takes from its end."""
NOISE = 120
"""Characters of noise that are put before a prompt."""
LOOK_ALIKE = dict(zip("aceiopsxyABCEHKMOPTX", "асеіорѕхуАВСЕНКМОРТХ", strict=True))
"""Latin letters, and Cyrillic ones that look the same."""
ZERO_WIDTH = "\u200b"
_STRANGE = "#@%&*~^|<>{}[]0123456789qzxjкщъ你我他🙂🚀½§"

Perturb = Callable[[str, random.Random], str]


def typos(text: str, draw: random.Random) -> str:
    """Letters swapped, left out or doubled."""
    letters = list(text)
    for at in sorted(_places(text, draw, str.isalpha), reverse=True):
        how = draw.randrange(3)
        if how == 0 and at + 1 < len(letters):
            letters[at], letters[at + 1] = letters[at + 1], letters[at]
        elif how == 1 and len(letters) > 1:
            del letters[at]
        else:
            letters.insert(at, letters[at])
    return "".join(letters)


def homoglyphs(text: str, draw: random.Random) -> str:
    """Letters of another alphabet that look the same; where there are none, an invisible space."""
    places = _places(text, draw, LOOK_ALIKE.__contains__)
    if not places:
        at = draw.randrange(len(text) + 1)
        return text[:at] + ZERO_WIDTH + text[at:]
    return "".join(LOOK_ALIKE[letter] if at in places else letter for at, letter in enumerate(text))


def capitals(text: str, _draw: random.Random) -> str:
    """All in capitals."""
    return text.upper()


def truncation(text: str, _draw: random.Random) -> str:
    """The end is missing; something is always left."""
    return text[: max(1, len(text) - max(1, round(len(text) * CUT)))]


def noise(text: str, draw: random.Random) -> str:
    """Something that means nothing stands before it."""
    return "".join(draw.choice(_STRANGE) for _ in range(NOISE)) + " " + text


KINDS: Mapping[str, Perturb] = {
    "typos": typos,
    "homoglyphs": homoglyphs,
    "capitals": capitals,
    "truncation": truncation,
    "noise": noise,
}


def perturbed(text: str, kind: str, seed: int) -> str:
    """*text* as *kind* makes it; the same for the same *seed*."""
    return KINDS[kind](text, random.Random(f"{seed} {kind} {text}"))


def _places(text: str, draw: random.Random, fits: Callable[[str], bool]) -> set[int]:
    """Where to change *text*: one place that fits for each EVERY characters, at least one if there is any."""
    fitting = [at for at, letter in enumerate(text) if fits(letter)]
    return set(draw.sample(fitting, min(len(fitting), max(1, len(text) // EVERY))))
