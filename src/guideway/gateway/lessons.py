"""What users corrected, as rows to train on: a judgement and the prompt that it is about, put together again.

The prompt is in the log, and only where ``telemetry.prompts`` puts it there. What is found of personal data in either
is masked here once more, whatever the environment lets pass: rows of training data live longer than logs.
"""

from __future__ import annotations

import datetime
import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from guideway.core.feedback import Judgement
from guideway.privacy.detect import find
from guideway.privacy.mask import PLACEHOLDER

ROLES = frozenset({"system", "user", "assistant"})

UNSAID = "without a correction"
UNKEPT = "whose prompt is not in the log"
UNFIT = "about more than a plain conversation, or one too long for the log"
TWICE = "said before"


class Rights(NamedTuple):
    """What every row says of itself: the licence that it may be used under, and on what ground its writer agreed."""

    licence: str
    consent: str


class Lessons(NamedTuple):
    """Rows to train on, the newest judgement first, and how many judgements were left out, by why."""

    rows: list[dict[str, Any]]
    left_out: Counter[str]


class _Line(msgspec.Struct):
    """The line of the log about one request."""

    event: str
    id: str = ""
    prompt: str = ""


def prompts_of(lines: Iterable[bytes], wanted: Collection[str]) -> dict[str, str]:
    """The masked bodies of the requests with the ids *wanted*, from *lines* of logs; broken ones are passed over."""
    found: dict[str, str] = {}
    for line in lines:
        if b'"prompt"' not in line:
            continue
        try:
            told = msgspec.json.decode(line, type=_Line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        if told.event == "request" and told.prompt and told.id in wanted:
            found[told.id] = told.prompt
    return found


def lessons(judgements: Iterable[Judgement], prompts: Mapping[str, str], task: str, rights: Rights) -> Lessons:
    """Rows for *task* from *judgements*, the newest first; of a prompt that was judged before the first one counts."""
    rows: dict[str, dict[str, Any]] = {}
    left: Counter[str] = Counter()
    for one in judgements:
        said = (one.label or one.correction) if task == "classify" else one.correction
        body = prompts.get(one.request)
        asked = None if body is None else _asked(body)
        if not said or not said.strip():
            left[UNSAID] += 1
        elif body is None:
            left[UNKEPT] += 1
        elif asked is None:
            left[UNFIT] += 1
        elif (key := json.dumps(asked).casefold()) in rows:
            left[TWICE] += 1
        else:
            rows[key] = _row(asked, said, task) | _of(one, rights)
    return Lessons(list(rows.values()), left)


def _of(one: Judgement, rights: Rights) -> dict[str, Any]:
    """Where a row comes from. A day and no id: nobody is to be found again by it."""
    day = datetime.datetime.fromtimestamp(one.at, datetime.UTC).date().isoformat()
    return {"source": "feedback", "release": one.release, "day": day, **rights._asdict()}


def _asked(body: str) -> list[dict[str, str]] | None:
    """The conversation in a body, texts only; None: there is none, or more than texts in it."""
    try:
        asked = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return None
    if not isinstance(asked, dict):
        return None
    if isinstance(asked.get("prompt"), str):
        return [{"role": "user", "content": asked["prompt"]}]
    messages = asked.get("messages")
    if not isinstance(messages, list) or not messages or not all(map(_is_plain, messages)):
        return None
    return [{"role": one["role"], "content": one["content"]} for one in messages]


def _is_plain(message: Any) -> bool:
    if not isinstance(message, dict) or message.get("role") not in ROLES:
        return False
    return isinstance(message.get("content"), str) and not message.get("tool_calls")


def _row(asked: list[dict[str, str]], said: str, task: str) -> dict[str, Any]:
    *texts, answer = _masked([*(one["content"] for one in asked), said])
    if task == "classify":
        return {"text": texts[-1], "label": answer}
    if task == "completion":
        return {"text": texts[-1] + answer}
    messages = [{**one, "content": text} for one, text in zip(asked, texts, strict=True)]
    return {"messages": [*messages, {"role": "assistant", "content": answer}]}


def _masked(texts: list[str]) -> Iterator[str]:
    """*texts* of one row with placeholders for what is left of personal data; those that stand there stay."""
    taken = {one for text in texts for one in PLACEHOLDER.findall(text)}
    names: dict[tuple[str, str], str] = {}
    for text in texts:
        pieces, at = [], 0
        for one in find(text):
            value = one.entity, text[one.start : one.end]
            if value not in names:
                numbered = (f"[{one.entity.upper()}_{number}]" for number in range(1, len(taken) + 2))
                names[value] = next(name for name in numbered if name not in taken)
                taken.add(names[value])
            pieces += [text[at : one.start], names[value]]
            at = one.end
        yield "".join([*pieces, text[at:]])
