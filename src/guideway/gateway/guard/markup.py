"""What an answer could make a browser do: run a script, follow a link that is code, load what tells on its reader.

Blocks between fences (three backticks or tildes at the start of a line, as CommonMark has them) are left as they are:
renderers show them as text, and people copy from there. Everywhere else

* a tag that could run, load or send something gets ``&lt;`` for its first character; harmless tags stay,
* an image becomes a link, which loads nothing until somebody follows it,
* a link whose scheme is not http, https, mailto, tel or ftp leads to ``#``.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable

HOLD = 512
"""Characters of a tag or a link that are waited for; a longer tag is taken for a bad one."""

_NOTABLE = re.compile(r"[<!\]\n]")
_SPECIAL = re.compile(r"[<!\]]")
_OPEN = re.compile(r"(?:(`{3,})[^`\n]*|(~{3,})[^\n]*)\n")
_NAME = r"[A-Za-z][A-Za-z0-9:._-]*"
_VALUE = r"\"[^\"<]*\"|'[^'<]*'|[^\s\"'<>=`]+"
_ATTRIBUTES = rf"(?:\s+[A-Za-z_:][\w:.-]*(?:\s*=\s*(?:{_VALUE}))?)*"
_TAG = re.compile(rf"</?({_NAME}){_ATTRIBUTES}\s*/?>")
_BEGUN_TAG = re.compile(
    rf"<(?:/?(?:{_NAME}{_ATTRIBUTES}(?:\s*/|\s+(?:[A-Za-z_:][\w:.-]*\s*(?:=\s*(?:\"[^\"<]*|'[^'<]*|[^\s\"'<>=`]*))?)?)?)?)\Z"
)
_AUTOLINK = re.compile(r"<([A-Za-z][A-Za-z0-9+.-]{1,31}:|[^\s<>@:]+@)[^\s<>]*>")
_BEGUN_AUTOLINK = re.compile(r"<[A-Za-z0-9][^\s<>]*\Z")
_ACTIVE = frozenset(
    [
        "script",
        "iframe",
        "frame",
        "frameset",
        "object",
        "embed",
        "applet",
        "svg",
        "math",
        "style",
        "link",
        "meta",
        "base",
        "form",
        "img",
        "image",
        "video",
        "audio",
        "source",
        "track",
        "picture",
        "input",
        "button",
        "select",
        "textarea",
        "body",
        "html",
        "head",
        "template",
        "noscript",
        "noembed",
        "noframes",
        "portal",
        "pre",
        "listing",
        "xmp",
        "plaintext",
        "title",
        "xml",
        "marquee",
        "bgsound",
        "layer",
        "ilayer",
        "isindex",
        "keygen",
        "param",
        "dialog",
        "slot",
    ]
)
_BAD_ATTRIBUTE = re.compile(
    r"[\s\"'/](?:on\w*|style|src\w*|formaction|action|poster|background|data|ping|\w+:\w+|lowsrc|dynsrc|manifest|is)\s*=",
    re.IGNORECASE,
)
_HREF = re.compile(r"[\s\"'/]href\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s\"'>]*))", re.IGNORECASE)
_LINK = re.compile(r"\]([(:])\s{0,16}(<?)")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
_HARMLESS = frozenset({"http:", "https:", "mailto:", "tel:", "ftp:"})
_PLAIN_LINK = re.compile(r"(?:https?://|mailto:)", re.IGNORECASE)
_CODE = frozenset({"javascript:", "vbscript:", "livescript:", "data:", "file:", "blob:", "filesystem:", "view-source:"})

Step = tuple[str, int] | None
"""What may be given, and where it goes on; None: it must wait for more text."""


class Markup:
    """Neutralises a text piece by piece; one piece may end anywhere."""

    __slots__ = ("_fence", "_held", "_html", "_last", "_line_start")

    def __init__(self) -> None:
        self._held = ""
        self._last = False
        self._line_start = True
        self._html = False  # since the last blank line a line began with a tag: fences may be part of it
        self._fence = ""

    def feed(self, text: str) -> str:
        """What of *text*, and of what was held, can be judged."""
        if not (self._held or self._line_start or self._fence) and _NOTABLE.search(text) is None:
            return text
        return self._run(text)

    def end(self) -> str:
        """The rest."""
        self._last = True
        return self._run("")

    def _run(self, text: str) -> str:
        text, self._held = self._held + text, ""
        done: list[str] = []
        at = 0
        while at < len(text):
            judge = self._line if self._line_start else self._code if self._fence else self._prose
            step = judge(text, at)
            if step is None:
                break
            done.append(step[0])
            at = step[1]
        self._held = text[at:]
        return "".join(done)

    # At the start of a line.

    def _line(self, text: str, at: int) -> Step:
        """Is this line a fence? Nothing of it is given before that is known."""
        if self._fence:
            return self._closing(text, at)
        mark = text[at]
        line_end = text.find("\n", at)
        if mark in "`~" and not self._html:
            run = len(text) - at - len(text[at:].lstrip(mark))
            unknown = at + run == len(text) if run < 3 else line_end < 0 and len(text) - at < HOLD
            if unknown and not self._last:
                return None
            found = _OPEN.match(text, at) if line_end >= 0 else None
            if found is not None:
                self._fence = found[1] or found[2]
                return found[0], found.end()
        return self._prose_line(text, at)

    def _prose_line(self, text: str, at: int) -> Step:
        """The line is prose; its first characters say whether HTML begins or a paragraph ends."""
        after = at
        while after < len(text) and text[after] in " \t":
            after += 1
        if after == len(text) and not self._last and after - at < HOLD:
            return None
        first = text[after : after + 1]
        if first == "\n":
            self._html = False
            return text[at : after + 1], after + 1
        self._html = self._html or first == "<"
        self._line_start = False
        return text[at:after], after

    def _closing(self, text: str, at: int) -> Step:
        """Inside a block: does this line close it?"""
        line_end = text.find("\n", at)
        line = text[at:] if line_end < 0 else text[at:line_end]
        bare = line.strip(" \t")
        could = len(line) < HOLD and not bare.strip(self._fence[0]) and len(line) - len(line.lstrip(" ")) <= 3
        if could and line_end < 0 and not self._last:
            return None
        if could and len(bare) >= len(self._fence) and line_end >= 0:
            self._fence = ""
            return text[at : line_end + 1], line_end + 1
        self._line_start = False
        return "", at

    # Inside a line.

    def _code(self, text: str, at: int) -> Step:
        line_end = text.find("\n", at)
        if line_end < 0:
            return text[at:], len(text)
        self._line_start = True
        return text[at : line_end + 1], line_end + 1

    def _prose(self, text: str, at: int) -> Step:
        """Up to the next character that could begin something, or to the end of the line."""
        line_end = text.find("\n", at)
        found = _SPECIAL.search(text, at, len(text) if line_end < 0 else line_end)
        if found is None:
            self._line_start = line_end >= 0
            after = line_end + 1 if line_end >= 0 else len(text)
            return text[at:after], after
        if found.start() > at:
            return text[at : found.start()], found.start()
        judge: Callable[[str, int], Step] = {"<": self._angle, "!": self._image, "]": self._link}[found[0]]
        return judge(text, at)

    def _image(self, text: str, at: int) -> Step:
        if at + 1 == len(text) and not self._last:
            return None
        return ("", at + 1) if text[at + 1 : at + 2] == "[" else ("!", at + 1)

    def _angle(self, text: str, at: int) -> Step:
        """A tag, an address between angles, or only a sign that is smaller than."""
        following = text[at + 1 : at + 2]
        if following and not (following.isalnum() or following in "/!?"):
            return "<", at + 1
        for whole, harmless in ((_TAG, _harmless_tag), (_AUTOLINK, _harmless_address)):
            found = whole.match(text, at)
            if found is not None and harmless(found):
                return found[0], found.end()
        begun = len(text) - at < HOLD and not self._last
        if begun and (_BEGUN_TAG.match(text, at) or _BEGUN_AUTOLINK.match(text, at)):
            return None
        return ("<", at + 1) if following.isdigit() or not following else ("&lt;", at + 1)

    def _link(self, text: str, at: int) -> Step:
        """Where does the link lead that the bracket may belong to?"""
        if at + 1 == len(text) and not self._last:
            return None
        found = _LINK.match(text, at)
        if found is None:
            return "]", at + 1
        start = found.end()
        before = text[at : found.start(2)], found.start(2)  # an angle is judged as one: it may begin a tag after all
        if _PLAIN_LINK.match(text, start):
            return before
        ends = "\n>" if found[2] else " \t\n)"
        end = next((index for index in range(start, min(len(text), start + HOLD)) if text[index] in ends), -1)
        if end < 0 and not self._last and len(text) - start < HOLD:
            return None
        target = text[start:end] if end >= 0 else text[start : start + HOLD]
        bad = _is_code(target) if found[1] == ":" else not _leads_nowhere_odd(target)
        if bad or (end < 0 and not self._last):
            return found[0] + "#", start + len(target)
        return before


def _harmless_tag(tag: re.Match[str]) -> bool:
    """May a browser see this tag?"""
    text = tag[0]
    if tag[1].lower() in _ACTIVE or _BAD_ATTRIBUTE.search(text):
        return False
    return all(_leads_nowhere_odd(next(filter(None, groups), "")) for groups in _HREF.findall(text))


def _harmless_address(address: re.Match[str]) -> bool:
    return address[1].endswith("@") or address[1].lower() in _HARMLESS


def _leads_nowhere_odd(target: str) -> bool:
    """Is the scheme of *target* a harmless one, or does it have none?"""
    scheme = _scheme(target)
    return not scheme or scheme in _HARMLESS


def _is_code(target: str) -> bool:
    return _scheme(target) in _CODE


def _scheme(target: str) -> str:
    """The scheme of *target* as a browser reads it: references decoded, no spaces, controls or backslashes."""
    read = "".join(char for char in html.unescape(target) if char > " " and char != "\\" and char not in "\x7f\xa0")
    found = _SCHEME.match(read)
    return found[0].lower() if found else ""
