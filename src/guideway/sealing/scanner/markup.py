"""XML: OpenVINO's description of a model, and SVG pictures. Read as a stream, without DTD, entities or scripts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from xml.parsers import expat

from guideway.sealing.scanner import paths
from guideway.sealing.scanner.findings import Malformed, shown
from guideway.sealing.scanner.source import CHUNK, Claim, Said, Source, Strings

LIMIT = 256 << 20
"""Bytes of a description."""
DEPTH = 256
ACTIVE = frozenset({"script", "foreignobject", "iframe", "embed", "object", "handler", "animate", "set"})
"""Elements of a picture that do something."""


def look(source: Source) -> Iterable[Said] | None:
    """What is wrong with an XML file; anything but OpenVINO and SVG is not allowed."""
    head = bytes(source.data[:4096]).removeprefix(b"\xef\xbb\xbf").lstrip()
    if not head.startswith((b"<?xml", b"<!DOCTYPE", b"<net", b"<svg")):
        return None
    if source.size > LIMIT:
        raise Malformed("too-large", f"is XML of {source.size} bytes")
    return _judge(source)


def _judge(source: Source) -> Iterator[Said]:
    reader = _Reader()
    reader.read(source)
    yield Strings(source.data)
    if reader.root == "net":
        yield from _weights(source, reader.needs)
    elif reader.root != "svg":
        raise Malformed("xml", f"is XML with the unknown root '{shown(reader.root)}'")
    elif reader.active:
        yield source.finding("xml", f"is a picture that does something ({shown(reader.active)})")


def _weights(source: Source, needs: int) -> Iterator[Said]:
    """The claim on the file beside a model description that holds its constants."""
    stem = source.path.rpartition("/")[2].removesuffix(".xml")
    path = paths.beside(source.path, f"{stem}.bin")
    size = source.sizes.get(path)
    if size is not None and size >= needs:
        yield Claim(path, "openvino-data")
    elif needs:
        state = "which is not there" if size is None else f"which has only {size}"
        yield source.finding("openvino", f"needs {needs} bytes of '{shown(stem)}.bin', {state}")


class _Reader:
    """What a stream of elements says: the root, how many bytes of constants, whether something is active."""

    def __init__(self) -> None:
        self.root, self.active, self.needs, self.depth = "", "", 0, 0
        self._parser = expat.ParserCreate()
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.StartDoctypeDeclHandler = self._doctype
        self._parser.ProcessingInstructionHandler = self._instruction

    def read(self, source: Source) -> None:
        try:
            for start in range(0, source.size, CHUNK):
                self._parser.Parse(source.data[start : start + CHUNK], start + CHUNK >= source.size)
        except (expat.ExpatError, ValueError, LookupError) as error:
            if isinstance(error, Malformed):
                raise
            raise Malformed("xml", f"is broken XML: {shown(str(error))}") from None

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self.root = self.root or tag.rpartition(":")[2]
        self.depth += 1
        if self.depth > DEPTH:
            raise Malformed("xml", f"nests more than {DEPTH} elements")
        if self.root == "svg":
            self.active = self.active or _active(tag, attributes)
        elif tag == "data" and "offset" in attributes and "size" in attributes:
            self.needs = max(self.needs, _count(attributes["offset"]) + _count(attributes["size"]))

    def _end(self, _tag: str) -> None:
        self.depth -= 1

    def _doctype(self, *_parts: object) -> None:
        raise Malformed("xml", "is XML with a DTD, which can read other files")

    def _instruction(self, target: str, _data: str) -> None:
        raise Malformed("xml", f"is XML with an instruction for {shown(target)}")


def _active(tag: str, attributes: dict[str, str]) -> str:
    name = tag.rpartition(":")[2].lower()
    if name in ACTIVE:
        return name
    for key, value in attributes.items():
        link = key.rpartition(":")[2].lower() == "href" and not value.strip().startswith(("#", "data:image/"))
        if key.lower().startswith("on") or link or "javascript:" in value.lower():
            return key
    return ""


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise Malformed("openvino", f"places a constant at '{shown(text)}'")
    return int(text)
