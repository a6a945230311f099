"""The formats, in the order in which a file is held against them: the refused first, text last.

A format looks at a file and answers None when it is not of that kind; else what there is to say about it. What no
format knows is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from guideway.sealing.scanner import (
    compressed,
    documents,
    gguf,
    images,
    markup,
    npy,
    onnx,
    pickles,
    programs,
    safetensors,
    sentencepiece,
    zips,
)
from guideway.sealing.scanner.source import Said, Source


def _empty(source: Source) -> Iterable[Said] | None:
    return None if source.size else []


FORMATS: dict[str, Callable[[Source], Iterable[Said] | None]] = {
    "empty": _empty,
    # refused, under whatever name
    "zip": zips.look,
    "pickle": pickles.look,
    "program": programs.look,
    "compressed": compressed.look,
    # weights
    "safetensors": safetensors.look,
    "gguf": gguf.look,
    "onnx": onnx.look,
    "npy": npy.look,
    "sentencepiece": sentencepiece.look,
    # documents
    "picture": images.look,
    "xml": markup.look,
    "json": documents.json_document,
    "json-lines": documents.json_lines,
    "yaml": documents.yaml_document,
    "template": documents.template,
    "text": documents.plain_text,
}
