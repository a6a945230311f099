"""In which script a text is mostly written: what can be known of its language without a library, in microseconds."""

from __future__ import annotations

import re
from typing import Literal

Script = Literal["latin", "greek", "cyrillic", "hebrew", "arabic", "indic", "thai", "georgian", "hangul", "kana", "han"]
"""Those that share a block of 256 code points go by one name: Armenian is told as Hebrew, Burmese as Georgian."""

LOOKED_AT = 400
"""Characters from the beginning."""
ENOUGH = 12
"""Letters without which nothing is said."""
MOSTLY = 0.6
"""The share of its letters that makes a script the one of a text."""

_BLOCKS: dict[Script, tuple[range, ...]] = {
    "latin": (range(0x01, 0x03), range(0x1E, 0x1F)),
    "greek": (range(0x03, 0x04), range(0x1F, 0x20)),
    "cyrillic": (range(0x04, 0x05),),
    "hebrew": (range(0x05, 0x06),),
    "arabic": (range(0x06, 0x09), range(0xFB, 0xFE)),
    "indic": (range(0x09, 0x0E),),
    "thai": (range(0x0E, 0x0F),),
    "georgian": (range(0x10, 0x11),),
    "hangul": (range(0x11, 0x12), range(0xAC, 0xD8)),
    "kana": (range(0x30, 0x31),),
    "han": (range(0x34, 0xA0), range(0xF9, 0xFB)),
}
"""The upper byte of the code points of each. What lies beyond 65,535, and the first block, are not among them."""
_SCRIPT_OF = {byte: number for number, blocks in enumerate(_BLOCKS.values(), 1) for block in blocks for byte in block}
_NAMES: dict[int, Script] = dict(enumerate(_BLOCKS, 1))
_TABLE = bytes(_SCRIPT_OF.get(byte, 0) for byte in range(256))
_NO_LETTERS = bytes(byte for byte in range(256) if not chr(byte).isalpha() or byte > 127)
_MARKS = "\u3000、。〈〉《》「」『』【】〜"
"""What stands in the block of kana and is none."""
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
        return "latin" if _ascii_letters(text) >= ENOUGH else None
    found = _weighed(text)
    total, most = sum(found.values()), max(found, key=found.__getitem__)
    return most if total >= ENOUGH and found[most] >= MOSTLY * total else None


def in_other_script(prompt: str, answer: str) -> bool | None:
    """Is *answer* in another script than *prompt*? None: one of them has none that could be told."""
    asked = script_of(prompt)
    answered = script_of(answer) if asked is not None else None
    return None if asked is None or answered is None else asked != answered


def _weighed(text: str) -> dict[Script, int]:
    """The letters of *text* by script, weighed."""
    blocks = text.encode("utf-16-be", "replace")[::2].translate(_TABLE)
    found: dict[Script, int] = {"latin": 0}
    for number in set(blocks) - {0}:
        name = _NAMES[number]
        found[name] = blocks.count(number) * _WEIGHTS.get(name, 1)
    found["latin"] += _ascii_letters(text)
    if "kana" in found:
        found["kana"] -= _WEIGHTS["kana"] * sum(map(text.count, _MARKS))
        if found["kana"] > 0 and found["kana"] >= _JAPANESE * (found["kana"] + found.get("han", 0)):
            found["kana"] += found.pop("han", 0)
    return found


def _ascii_letters(text: str) -> int:
    return len(text.encode("ascii", "ignore").translate(None, _NO_LETTERS))
