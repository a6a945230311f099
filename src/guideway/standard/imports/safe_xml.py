"""XML from strangers: read as a stream, without document types and entities, bounded in depth and elements."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, NoReturn
from xml.parsers import expat

from guideway.core.errors import SpecError
from guideway.standard.imports.found import one_line

DEPTH = 64
ELEMENTS = 1_000_000
_ENDS = (
    expat.errors.XML_ERROR_NO_ELEMENTS,
    expat.errors.XML_ERROR_UNCLOSED_TOKEN,
    expat.errors.XML_ERROR_UNCLOSED_CDATA_SECTION,
    expat.errors.XML_ERROR_PARTIAL_CHAR,
)

Attributes = dict[str, str]
Opens = Callable[[str, Attributes, int], None]
"""Called with name (without prefix), attributes and line of each element that opens."""
Closes = Callable[[str], None]


class _Stop(Exception):
    """What was looked for is found."""


def walk(data: bytes, name: str, opens: Opens, closes: Closes | None = None) -> None:
    """Read *data* from one end to the other and call *opens* and *closes* for every element.

    Raises:
        SpecError: not UTF-8, not XML, cut off, too deep or too large, or with a document type; with the line.
    """
    check_text(data, name)
    parser: Any = expat.ParserCreate("utf-8")  # whatever the file declares: it was checked to be just that
    walker = _Walker(parser, name, opens, closes)
    parser.StartElementHandler, parser.EndElementHandler = walker.open, walker.close
    parser.XmlDeclHandler = walker.declaration
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = walker.document_type  # called before any is read
    parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise SpecError(_said(error), where=f"{name}:{error.lineno}") from None


def root(data: bytes, name: str) -> str:
    """The name of the outermost element, without its prefix. Raises as :func:`walk` does, as far as it reads."""
    found: list[str] = []

    def first(tag: str, _attributes: Attributes, _line: int) -> None:
        found.append(tag)
        raise _Stop

    with contextlib.suppress(_Stop):
        walk(data, name, first)
    return found[0]


class _Walker:
    def __init__(self, parser: Any, name: str, opens: Opens, closes: Closes | None) -> None:
        self._parser, self._name, self._opens, self._closes = parser, name, opens, closes
        self._depth = self._elements = 0

    def open(self, tag: str, attributes: Attributes) -> None:
        self._depth += 1
        self._elements += 1
        if self._depth > DEPTH:
            raise self._refused(f"elements more than {DEPTH} deep")
        if self._elements > ELEMENTS:
            raise self._refused(f"more than {ELEMENTS:,} elements")
        self._opens(tag.rpartition(":")[2], attributes, self._parser.CurrentLineNumber)

    def close(self, tag: str) -> None:
        self._depth -= 1
        if self._closes:
            self._closes(tag.rpartition(":")[2])

    def declaration(self, _version: str, encoding: str | None, _standalone: int) -> None:
        if encoding and encoding.lower() not in ("utf-8", "us-ascii", "ascii"):
            raise self._refused(f"the encoding is '{one_line(encoding)}', not UTF-8", "save it as UTF-8")

    def document_type(self, *_: object) -> NoReturn:
        raise self._refused("a document type or an entity is not read", "remove the <!DOCTYPE …> line")

    def _refused(self, what: str, try_this: str | None = None) -> SpecError:
        return SpecError(what, where=f"{self._name}:{self._parser.CurrentLineNumber}", try_this=try_this)


def check_text(data: bytes, name: str) -> None:
    """Raise SpecError, with the line, if *data* is not UTF-8."""
    try:
        data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SpecError(
            f"not UTF-8 text (byte {error.start})", where=f"{name}:{line}", try_this="save it as UTF-8"
        ) from None


def _said(error: expat.ExpatError) -> str:
    said = expat.ErrorString(error.code)
    return "not XML: it ends in the middle" if said in _ENDS else f"not XML: {said}"
