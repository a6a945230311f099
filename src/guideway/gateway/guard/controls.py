"""Terminal codes and invisible characters: they never reach a client, in code blocks neither."""

from __future__ import annotations

import re

HOLD = 256
"""Characters of a terminal code that has not ended. A longer one loses its first, and is plain text."""

_CODE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]{0,256}(?:\x07|\x1b\\|\x9c)"  # OSC and the like
    r"|\x1b[ -/]+[0-~]|\x1b[0-OQ-WYZ`-~\\]"
)
_INTRODUCER = re.compile(r"[\x1b\x9b\x9d\x90\x98\x9e\x9f]")
_OTHER = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\U000e0000-\U000e007f]")
"""Controls but tab and line end, changes of direction, and the invisible twins of ASCII."""


class Controls:
    """Takes terminal codes, control characters and changes of direction out of a text. Lines end in LF."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held = ""

    def feed(self, text: str) -> str:
        """*text* without them; a code that has only begun waits for its end."""
        if not self._held and _OTHER.search(text) is None:
            return text
        text, self._held = _CODE.sub("", self._held + text), ""
        begun = _INTRODUCER.search(text)
        while begun is not None and len(text) - begun.start() > HOLD:
            begun = _INTRODUCER.search(text, begun.end())
        if begun is not None:
            text, self._held = text[: begun.start()], text[begun.start() :]
        return _OTHER.sub("", text)

    def end(self) -> str:
        """A code without an end is plain text without its first character."""
        held, self._held = self._held, ""
        return _OTHER.sub("", held)
