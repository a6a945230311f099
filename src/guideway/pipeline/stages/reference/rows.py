"""The prompts that a reference learns from: those of the training rows, or of files with traffic as it came."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from guideway.core.errors import GuidewayError, SpecError
from guideway.pipeline.stages.data.clean import same
from guideway.pipeline.stages.data.split import TRAIN

MOST = 40_000
"""Prompts that are looked at: those with the smallest digests, which is as good as drawing them."""
LEAST = 100


class Prompt(msgspec.Struct, frozen=True):
    """One prompt as clients send it; other fields are left alone."""

    prompt: Annotated[str, Meta(min_length=1)]


def read_prompts(files: Sequence[Path], data: Path, seed: int) -> list[str]:
    """Different prompts in an order that depends on them and *seed* alone: from *files*, or else the training rows.

    Raises:
        SpecError: a line is no row.
        GuidewayError: there are too few.
    """
    texts = _of_files(files) if files else _of_rows(data / f"{TRAIN}.jsonl")
    found: dict[bytes, str] = {}
    for text in texts:
        found.setdefault(_digest(text, seed), text)
    if len(found) < LEAST:
        advice = "give more in serve.guardrails.outlier.data, or leave out serve.guardrails.outlier"
        where = ", ".join(path.name for path in files) or "the training rows"
        raise GuidewayError(f"{len(found)} different prompts say too little", where=where, try_this=advice)
    return [found[digest] for digest in sorted(found)[:MOST]]


def _digest(text: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}\0{same(text)}".encode("utf-8", "surrogatepass")).digest()


def _of_rows(path: Path) -> Iterator[str]:
    """What users said last in a conversation; the whole text, where a row has one."""
    with path.open("rb") as lines:
        for line in lines:
            text = _last(msgspec.json.decode(line))
            if text:
                yield text


def _last(row: Mapping[str, Any]) -> str:
    said: Iterable[str] = (one["content"] for one in reversed(row.get("messages", ())) if one["role"] == "user")
    return row["text"] if "text" in row else next(iter(said), "")


def _of_files(paths: Sequence[Path]) -> Iterator[str]:
    for path in paths:
        for number, line in enumerate(path.read_bytes().splitlines(), 1):
            if not line.strip():
                continue
            try:
                yield msgspec.json.decode(line, type=Prompt).prompt
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                where, advice = f"{path.name}:{number}", 'a line is {"prompt": ...}'
                raise SpecError(f"not a prompt: {error}", where=where, try_this=advice) from None
