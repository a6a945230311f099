"""Is an answer a refusal? By what it says in its beginning. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from guideway.pipeline.stages.refusals.phrases import CHINESE, ENGLISH

BEGINNING = 400
"""Characters of an answer that are looked at: who refuses says so before anything else."""
_APOSTROPHES = str.maketrans({"’": "'", "‘": "'", "ʼ": "'", "`": "'"})


class Recogniser:
    """Knows refusals by phrases: those of ``phrases.py``, and plain ones of the team.

    It reads words and no meaning: an answer that only avoids the question is no refusal to it, and one that refuses
    and then does what was asked is one.
    """

    def __init__(self, phrases: Sequence[str] = ()) -> None:
        own = [re.escape(plain(one)) for one in phrases]
        self._pattern = re.compile("|".join(f"(?:{one})" for one in (*ENGLISH, *CHINESE, *own)))

    def refuses(self, answer: str) -> bool:
        """Does *answer* refuse? One that says nothing does not."""
        return self._pattern.search(plain(answer[: 2 * BEGINNING])[:BEGINNING]) is not None


def plain(text: str) -> str:
    """*text* in small letters, NFKC, with plain apostrophes and single spaces."""
    folded = unicodedata.normalize("NFKC", text).translate(_APOSTROPHES).casefold()
    return " ".join(folded.split())
