"""Ways around a system prompt, or to be told it beside an answer: wishes that are refused, fields that are taken out.

A prompt that comes back token by token, or is written by a template of the client, is in no text that is looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from guideway.gateway.errors import ApiError, bad_body

_WISHES: dict[str, bool] = {
    "add_generation_prompt": True,
    "chat_template": False,
    "continue_final_message": False,
    "decoder_input_details": False,
    "echo": False,
    "logprob_start_len": False,
    "priority": False,
    "prompt_embeds": False,
    "prompt_logprobs": False,
    "return_full_text": False,
    "return_hidden_states": False,
    "return_token_ids": False,
    "return_tokens_as_token_ids": False,
    "truncate_prompt_tokens": False,
}
"""Fields of a request, each with the value that wishes nothing."""
_REPLACING = ("chat_template", "prompt_embeds", "truncate_prompt_tokens")
_FIELDS = frozenset({"echo", "meta_info", "details", "__verbose"})
_BEGINNINGS = ("prompt", "input_")


def revealing(body: Mapping[str, Any]) -> ApiError | None:
    """Why *body* is refused where the system prompt is secret, or None; only a chat is given that prompt."""
    if "messages" not in body:
        return None
    for name, nothing in _WISHES.items():
        value = body.get(name)
        if value is not None and value is not nothing:
            return bad_body(f"{name} is not taken here: the model's instructions are not told", name)
    return None


def replacing(body: Mapping[str, Any]) -> ApiError | None:
    """Why *body* is refused where there is a system prompt, or None: a client must not write over it or cut it off."""
    found = next((name for name in _REPLACING if body.get(name) is not None), None)
    if found is None or "messages" not in body:
        return None
    return bad_body(f"{found} is not taken here: the model's instructions are not replaced", found)


def without_prompt(answer: dict[str, Any]) -> bool:
    """Take out of *answer*, whole or an event, what repeats its prompt; was there anything?"""
    choices = answer.get("choices")
    found = _taken_out(answer)
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict):
            found |= _taken_out(choice)
    return found


def _taken_out(value: dict[str, Any]) -> bool:
    names = [name for name in value if name in _FIELDS or name.startswith(_BEGINNINGS)]
    for name in names:
        del value[name]
    return bool(names)
