"""Golden prompts: what a file of them says, and which are still to be asked. A pair of releases uses each once."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from guideway.core.errors import SpecError, did_you_mean
from guideway.kit.strict_json import NotJson, read_json
from guideway.rollout.likeness import COMPARED

FILE_LIMIT = 16 << 20
"""Bytes of a file."""
LINE_LIMIT = 256 * 1024
MOST = 10_000
"""Prompts in one file: more are never asked in one rollout."""

Text = Annotated[str, Meta(min_length=1)]


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One message of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: Text


class Prompt(msgspec.Struct, frozen=True):
    """A prompt, as one text or as messages, and the answers that are right. ``id`` tells it from all others."""

    id: str
    expect: tuple[str, ...]
    prompt: str = ""
    messages: tuple[Message, ...] = ()


class Pair(msgspec.Struct, frozen=True):
    """The scores of both arms for the prompt with this id, from 0 to 1."""

    prompt: str
    candidate: float
    stable: float


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    expect: Text | Annotated[tuple[Text, ...], Meta(min_length=1, max_length=64)]
    prompt: Text | None = None
    messages: Annotated[tuple[Message, ...], Meta(min_length=1, max_length=256)] | None = None
    id: Annotated[str, Meta(pattern=r"^[\w.:/-]{1,128}$")] | None = None


def read_prompts(data: bytes, where: str) -> tuple[Prompt, ...]:
    """The prompts in *data*, the bytes of the file called *where*: JSON lines; empty lines are passed over.

    A line without an id is known by the digest of what it says.

    Raises:
        SpecError: the first line that is no golden prompt, or says the same as another, with its number.
    """
    if len(data) > FILE_LIMIT:
        raise SpecError(
            f"the file is larger than {FILE_LIMIT >> 20} MiB", where=where, try_this="keep the best prompts"
        )
    found: dict[str, Prompt] = {}
    lines: dict[str, int] = {}
    for number, raw in enumerate(data.splitlines(), 1):
        if not raw.strip():
            continue
        here = f"{where}:{number}"
        one = _prompt(raw, here)
        if one.id in found:
            raise SpecError(f"this is the prompt '{one.id}' of line {lines[one.id]} again", where=here)
        if len(found) == MOST:
            raise SpecError(f"more than {MOST:,} prompts", where=here, try_this="keep the best ones")
        found[one.id], lines[one.id] = one, number
    if not found:
        raise SpecError("there is no golden prompt here", where=where, try_this='write {"prompt": …, "expect": …}')
    return tuple(found.values())


def unused(prompts: Iterable[Prompt], used: Collection[str], seed: str) -> tuple[Prompt, ...]:
    """Those of *prompts* whose id is not among *used*, in an order drawn by *seed*: the first is the next to be asked.

    A bet that is looked at after every pair holds for prompts in an order that knows nothing of them. Files are sorted
    by topic, and a candidate that is worse at the first topic only would be stopped there.
    """

    def drawn(one: Prompt) -> bytes:
        return hashlib.sha256(b"%b\0%b" % (seed.encode(), one.id.encode())).digest()

    return tuple(sorted((one for one in prompts if one.id not in used), key=drawn))


def _prompt(raw: bytes, where: str) -> Prompt:
    line = _line(raw, where)
    if (line.prompt is None) == (line.messages is None):
        raise SpecError("a golden prompt has either 'prompt' or 'messages'", where=where)
    if line.messages is not None and line.messages[-1].role != "user":
        raise SpecError("the last message is not the user's", where=where, try_this="put the answer into 'expect'")
    expect = (line.expect,) if isinstance(line.expect, str) else line.expect
    if not all(one.strip() for one in expect):
        raise SpecError("an expected answer is blank", where=where)
    if any(len(one) > COMPARED for one in expect):
        what = f"an expected answer is longer than {COMPARED:,} characters"
        raise SpecError(what, where=where, try_this="keep the words that matter, with `score: contains`")
    said = [line.prompt, line.messages, expect]
    id = line.id or hashlib.sha256(msgspec.json.encode(said)).hexdigest()[:32]
    return Prompt(id, expect, line.prompt or "", line.messages or ())


def _line(raw: bytes, where: str) -> _Line:
    if len(raw) > LINE_LIMIT:
        raise SpecError(f"the line is longer than {LINE_LIMIT >> 10} KiB", where=where)
    try:
        plain: Any = read_json(raw)
    except NotJson as error:
        raise SpecError(error.what, where=where) from None
    unknown = next((key for key in plain if key not in _Line.__struct_fields__), None) if type(plain) is dict else None
    if unknown is not None:
        advice = did_you_mean(unknown, _Line.__struct_fields__)
        raise SpecError(f"unknown key '{unknown[:80]}'", where=where, try_this=advice)
    try:
        return msgspec.convert(plain, _Line)
    except msgspec.ValidationError as error:
        what = str(error).replace("`", "'")
        raise SpecError(what[0].lower() + what[1:], where=where) from None
