"""Names in a body: each once in its object, and as the API spells it, so that no two readers take two meanings.

A decoder keeps the last of two equal names and says nothing. But every name and every text has two quotation marks:
a body with more of them than what was decoded accounts for holds something that the decoder dropped.
"""

from __future__ import annotations

import json
from typing import Any, Protocol

import msgspec

from guideway.gateway.errors import ApiError, bad_body

_SELDOM = (
    "stream_options",
    "prompt",
    "input",
    "top_p",
    "stop",
    "seed",
    "user",
    "max_completion_tokens",
    "n",
    "presence_penalty",
    "frequency_penalty",
)
_NAMES = """
add_generation_prompt allowed_token_ids audio bad_words best_of chat_template chat_template_kwargs content
continue_final_message conversation_id data datatype dimensions documents echo encoding_format file
frequency_penalty function_call functions grammar guided_choice guided_grammar guided_json guided_regex id
ignore_eos image_url include_stop_str_in_output input input_audio input_ids inputs instructions length_penalty
logit_bias logit_processors logits_processors logprobs lora_request max_completion_tokens max_tokens messages
metadata min_p min_tokens mm_processor_kwargs modalities model n name outputs parallel_tool_calls parameters
prediction presence_penalty priority prompt prompt_embeds prompt_logprobs prompt_token_ids reasoning
reasoning_content reasoning_effort refusal repetition_penalty response_format return_token_ids role seed
service_tier shape skip_special_tokens stop stop_token_ids store stream stream_options structural_tag
structured_outputs suffix temperature text thinking tool_call_id tool_calls tool_choice tools top_k
top_logprobs top_p truncate_prompt_tokens type use_beam_search user video_url web_search_options
"""
KNOWN = frozenset(_NAMES.split())
"""Names that some server reads, in a body, a message, a part of one, or a tensor."""


class Simple(Protocol):
    """A body all of whose names are known, and whose messages are a role and a text each."""

    messages: Any
    prompt: Any
    input: Any
    max_tokens: int | None
    temperature: float | None
    stream: bool | None


def are_single(body: bytes, found: Simple) -> bool:
    """Does every name stand once in *body*, which was decoded to *found*? False: that is not known.

    Asked for every request: it counts, and looks at fields only until all quotation marks are accounted for.
    """
    left = body.count(b'"') - 4
    messages = found.messages
    if messages is not None:
        left -= 2 + 8 * len(messages)
    if left and found.max_tokens is not None:
        left -= 2
    if left and found.temperature is not None:
        left -= 2
    if left and found.stream is not None:
        left -= 2
    return not left or _accounted(body, found, left)


def _accounted(body: bytes, found: Simple, left: int) -> bool:
    """Do the other fields, and quotation marks inside the texts of messages, explain the *left* ones?"""
    for name in _SELDOM:
        value = getattr(found, name)
        if value is not None:
            left -= 2 + _marks_of(value)
    if left <= 0 or b"u0022" in body:  # the one mark of a text that is none of the body
        return left == 0
    texts = [one.content for one in found.messages or ()]
    for value in (found.prompt, found.input):
        texts += [value] if isinstance(value, str) else value or ()
    return bool(left == sum(text.count('"') for text in texts))


def understood(body: bytes) -> Any:
    """*body* decoded, or an ``ApiError``: it is not JSON, or holds a name twice or in another spelling."""
    data = decoded(body)
    if isinstance(data, ApiError):
        return data
    marks = body.count(b'"') - _marks(data)
    if marks and marks != _escaped(body):
        twice = _twice(body)
        if twice is not None:
            return twice
    return _respelled(data) or data


def decoded(body: bytes) -> Any:
    """*body* decoded, or an ``ApiError``: it is not JSON, such as a number that no one can hold."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as bad:
        return bad_body(f"the body is not JSON: {bad}")
    except RecursionError:
        return bad_body("the body is nested too deeply")


def _marks_of(value: Any) -> int:
    """The quotation marks of a field's value, where it is as simple as nearly all are."""
    if isinstance(value, str):
        return 2
    return 2 * len(value) if isinstance(value, list | dict) else 0


def _marks(data: Any) -> int:
    """The quotation marks around the names and texts of *data*."""
    total, rest = 0, [data]
    while rest:
        one = rest.pop()
        if isinstance(one, str):
            total += 2
        elif isinstance(one, dict):
            total += 2 * len(one)
            rest.extend(one.values())
        elif isinstance(one, list):
            rest.extend(one)
    return total


def _escaped(body: bytes) -> int:
    """The quotation marks inside texts; -1: escaped backslashes make it a longer question."""
    return body.count(b'\\"') if b"\\\\" not in body else -1


class _Twice(Exception):
    """The name stands twice in one object."""


def _once(pairs: list[tuple[str, Any]]) -> None:
    seen = set()
    for name, _ in pairs:
        if name in seen:
            raise _Twice(name)
        seen.add(name)


_reader = json.JSONDecoder(object_pairs_hook=_once, parse_int=len, parse_float=len)


def _twice(body: bytes) -> ApiError | None:
    """Read all names of *body*, and say which stands twice."""
    try:
        _reader.decode(body.decode())
    except _Twice as twice:
        name = str(twice)[:80]
        return bad_body(f"the name {name!r} stands twice in one object", name)
    except (ValueError, RecursionError):
        return bad_body("the body cannot be read in one way only")
    return None


def _respelled(data: Any) -> ApiError | None:
    """A known name in another case, in the body, a message, a part of one or a tensor."""
    for level in _levels(data):
        for name in level.keys() - KNOWN:
            plain = name.casefold()
            if plain in KNOWN:
                return bad_body(f"write {plain!r} instead of {name[:80]!r}", plain)
    return None


def _levels(data: Any) -> list[dict[str, Any]]:
    """The objects whose names the API gives."""
    body = _objects([data])
    inner = [one for each in body for key in ("messages", "inputs") for one in _objects(each.get(key))]
    return [*body, *inner, *(part for each in inner for part in _objects(each.get("content")))]


def _objects(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
