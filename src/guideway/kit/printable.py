"""Text that others wrote, without what would steer a terminal or turn the writing round."""

from __future__ import annotations

TURNING = dict.fromkeys(
    [0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A), 0xFEFF, *range(0xE0000, 0xE0080)]
)
"""Marks of direction and tags: they are not seen, and make a line look like another one. For ``str.translate``."""
_STEERING = dict.fromkeys([*range(9), *range(11, 32), *range(127, 160)])
_BOTH = _STEERING | TURNING


def printable(text: str) -> str:
    """*text* without control characters, but for tabs and ends of lines, and without marks of direction."""
    return text.translate(_BOTH)
