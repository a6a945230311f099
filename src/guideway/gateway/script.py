"""In which script a text is mostly written: what can be known of its language without a library."""

from __future__ import annotations

import re
from typing import Literal, cast

Script = Literal[
    "latin", "greek", "cyrillic", "armenian", "georgian", "hebrew", "arabic", "indic", "thai", "hangul", "kana", "han"
]

LOOKED_AT = 400
"""Characters from the beginning."""
ENOUGH = 12
"""Letters without which nothing is said."""
MOSTLY = 0.6
"""The share of its letters that makes a script the one of a text."""

_LETTERS: dict[Script, str] = {
    "latin": "A-Za-z\u00aa\u00ba\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u02af\u1e00-\u1eff\uff21-\uff3a\uff41-\uff5a",
    "greek": "\u0370-\u03ff\u1f00-\u1fff",
    "cyrillic": "\u0400-\u052f\u2de0-\u2dff\ua640-\ua69f",
    "armenian": "\u0531-\u0587",
    "georgian": "\u10a0-\u10ff\u1c90-\u1cbf",
    "hebrew": "\u05d0-\u05ea",
    "arabic": "\u0620-\u06ff\u0750-\u077f\u08a0-\u08ff\ufb50-\ufdff\ufe70-\ufefc",
    "indic": "\u0900-\u0dff",
    "thai": "\u0e01-\u0eff",
    "hangul": "\u1100-\u11ff\u3130-\u318f\uac00-\ud7af",
    "kana": "\u3041-\u30ff\u31f0-\u31ff\uff66-\uff9d",
    "han": "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f",
}
_RUNS = re.compile("|".join(f"(?P<{name}>[{letters}]+)" for name, letters in _LETTERS.items()))
_LATIN = re.compile("[A-Za-z]+")
_CODE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_WEIGHTS: dict[Script, int] = {"han": 3, "kana": 2, "hangul": 2}
"""As many letters of an alphabet say what one of these does."""
_JAPANESE = 0.15
"""With this share of kana among them, Chinese characters are Japanese."""


def script_of(text: str) -> Script | None:
    """The script of *text*; None: it is short, or mixed. Code between fences is left out."""
    text = text[:LOOKED_AT]
    if "```" in text:
        text = _CODE.sub(" ", text)
    if text.isascii():
        return "latin" if sum(map(len, _LATIN.findall(text))) >= ENOUGH else None
    found = _weighed(text)
    total = sum(found.values())
    most = max(found, key=found.__getitem__, default=None)
    return most if most is not None and total >= ENOUGH and found[most] >= MOSTLY * total else None


def in_other_script(prompt: str, answer: str) -> bool | None:
    """Is *answer* in another script than *prompt*? None: one of them has none that could be told."""
    asked = script_of(prompt)
    answered = script_of(answer) if asked is not None else None
    return None if asked is None or answered is None else asked != answered


def _weighed(text: str) -> dict[Script, int]:
    """The letters of *text* by script, weighed."""
    found: dict[Script, int] = {}
    for run in _RUNS.finditer(text):
        script = cast(Script, run.lastgroup)
        found[script] = found.get(script, 0) + len(run[0]) * _WEIGHTS.get(script, 1)
    kana, han = found.get("kana", 0), found.get("han", 0)
    if kana and kana >= _JAPANESE * (kana + han):
        found["kana"] = kana + found.pop("han", 0)
    return found
