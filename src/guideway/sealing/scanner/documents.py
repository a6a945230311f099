"""Text in every form: JSON, JSON lines, YAML, templates, and plain text such as Markdown."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from guideway.sealing.scanner import pickles, programs, remote_code, templates
from guideway.sealing.scanner.findings import Malformed, shown
from guideway.sealing.scanner.source import Said, Source, Strings, is_text

JSON_LIMIT = 64 << 20
"""Bytes of one JSON document, or of one line of JSON lines."""
ITEMS = 6_000_000
"""Values of one document, counted by its commas and brackets; the largest tokenizers have a third of them."""
YAML_LIMIT = 1 << 20
TEMPLATE_SUFFIXES = frozenset({".jinja", ".jinja2", ".j2"})
PROSE_SUFFIXES = frozenset({".md", ".rst"})
"""Texts that may show a template to their readers."""
PLAIN_TAG = "tag:yaml.org,2002:"


def json_document(source: Source) -> Iterable[Said] | None:
    """What is wrong with a JSON file; a text that begins like JSON but is none is left to others."""
    if source.suffix != ".json" and not _begins(source, b"{["):
        return None
    if source.size > JSON_LIMIT:
        return _too_large(source) if source.suffix == ".json" else None
    data = source.data[:]
    if sum(data.count(mark) for mark in (b",", b"[", b"{")) > ITEMS:
        return _too_large(source) if is_text(data) else None
    try:
        value = _parsed(data)
    except (ValueError, RecursionError) as error:
        if source.suffix != ".json" or not is_text(source.data):
            return None
        raise Malformed("json", f"is no JSON: {shown(str(error))}") from None
    return _judged(source, value)


def json_lines(source: Source) -> Iterable[Said] | None:
    """A file of JSON documents, one per line."""
    if not _begins(source, b"{[") or not is_text(source.data):
        return None
    try:
        for line in _lines(source):
            _parsed(line)
    except (ValueError, RecursionError) as error:
        if source.suffix == ".jsonl":
            raise Malformed("json", f"is no JSON lines: {shown(str(error))}") from None
        return None
    return [Strings(source.data)]


def yaml_document(source: Source) -> Iterable[Said] | None:
    """What is wrong with a YAML file, known by its name: any text is nearly YAML."""
    if source.suffix not in (".yaml", ".yml") or not is_text(source.data):
        return None
    if source.size > YAML_LIMIT:
        return _too_large(source)
    return _judged(source, _yaml(source.data[:].decode("utf-8")))


def template(source: Source) -> Iterable[Said] | None:
    """What is wrong with a chat template, known by its name or by its text."""
    named = source.suffix in TEMPLATE_SUFFIXES
    if source.suffix in PROSE_SUFFIXES or (source.size > templates.LIMIT * 4 and not named):
        return None
    if not is_text(source.data):
        return None
    text = source.data[: templates.LIMIT * 4 + 1].decode("utf-8", "replace")
    if not named and not (templates.MARKS.search(text) and "{%" in text and templates.parses(text)):
        return None
    found = [source.finding(rule, what) for rule, what in templates.faults(text)]
    return [*found, *programs.in_text(source), *pickles.look_inside(source), Strings(source.data)]


def plain_text(source: Source) -> Iterable[Said] | None:
    """What is wrong with a text of no other format."""
    if not is_text(source.data):
        return None
    return [*programs.in_text(source), *pickles.look_inside(source), Strings(source.data)]


def _judged(source: Source, value: Any) -> Iterator[Said]:
    for rule, what in dict.fromkeys(remote_code.faults(value)):
        yield source.finding(rule, what)
    yield Strings(source.data)


def _begins(source: Source, letters: bytes) -> bool:
    head = source.data[:1024].removeprefix(b"\xef\xbb\xbf").lstrip()
    return head[:1] != b"" and head[:1] in letters


def _parsed(data: bytes) -> Any:
    """JSON as lists, values, and lists of pairs where others make dictionaries: no pair may hide behind another."""
    text = data.decode("utf-8-sig")
    return json.loads(text, object_pairs_hook=list)


def _lines(source: Source) -> Iterator[bytes]:
    at = 0
    while at < source.size:
        end = source.data.find(b"\n", at)
        end = source.size if end < 0 else end
        if end - at > JSON_LIMIT:
            raise ValueError("a line is too long")
        line = source.data[at:end].strip()
        if line:
            yield line
        at = end + 1


def _too_large(source: Source) -> Iterable[Said]:
    return [source.finding("too-large", f"is a document of {source.size} bytes")]


def _yaml(text: str) -> Any:
    """YAML in the same shape as JSON here, from its events: nothing is constructed.

    Raises:
        Malformed: broken, or with a tag that asks for a type of Python.
    """
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    root: list[Any] = []
    open_: list[tuple[list[Any], bool]] = [(root, False)]
    try:
        for event in yaml.parse(text, Loader=loader):
            _check_tag(event)
            if isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
                inner: list[Any] = []
                open_[-1][0].append(inner)
                open_.append((inner, isinstance(event, yaml.MappingStartEvent)))
            elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
                items, mapping = open_.pop()
                if mapping:
                    items[:] = [(str(name), value) for name, value in zip(items[::2], items[1::2], strict=False)]
            elif isinstance(event, yaml.ScalarEvent | yaml.AliasEvent):
                open_[-1][0].append(getattr(event, "value", None))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        if isinstance(error, Malformed):
            raise
        raise Malformed("yaml", f"is broken YAML: {shown(str(error))}") from None
    return root


def _check_tag(event: Any) -> None:
    tag = getattr(event, "tag", None)
    if tag and tag != "!" and (not tag.startswith(PLAIN_TAG) or tag.startswith(PLAIN_TAG + "python")):
        raise Malformed("yaml-tag", f"asks for an object by the tag {shown(tag)}")
