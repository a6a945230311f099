"""Would the same request get the same answer once more? Where that is not certain, nothing is kept."""

from __future__ import annotations

from typing import Any

SAMPLED = frozenset({b"/v1/chat/completions", b"/v1/completions"})
COMPUTED = frozenset({b"/v1/embeddings"})
INFER = (b"/v2/models/", b"/infer")
_INLINE = frozenset({"text", "refusal", "input_audio"})
_OURS = frozenset({"function", "custom"})


def repeatable(path: bytes, parameters: dict[str, Any], temperature: float) -> bool:
    """Is the answer a function of the request? *temperature* is the release's, for a request that names none."""
    if path in SAMPLED:
        return _decided(parameters, temperature) and _self_contained(parameters)
    return path in COMPUTED or (path.startswith(INFER[0]) and path.endswith(INFER[1]))


def _decided(parameters: dict[str, Any], temperature: float) -> bool:
    """One answer is asked for, and chance has no part in it."""
    if not (_one(parameters.get("n")) and _one(parameters.get("best_of"))):
        return False
    if _is_number(parameters.get("seed"), int):
        return True
    asked = parameters.get("temperature")
    effective = temperature if asked is None else asked
    return _is_number(effective, int, float) and effective == 0


def _self_contained(parameters: dict[str, Any]) -> bool:
    """Nothing is looked up elsewhere while the answer is made: no search, no foreign tools, no addresses of images."""
    if parameters.get("web_search_options") is not None:
        return False
    tools, messages = parameters.get("tools") or [], parameters.get("messages") or []
    if not (isinstance(tools, list) and isinstance(messages, list)):
        return False
    return all(map(_called_by_client, tools)) and all(map(_is_inline, messages))


def _called_by_client(tool: object) -> bool:
    return isinstance(tool, dict) and tool.get("type") in _OURS


def _is_inline(message: object) -> bool:
    content = message.get("content") if isinstance(message, dict) else message
    return not isinstance(content, list) or all(map(_part_is_inline, content))


def _part_is_inline(part: object) -> bool:
    if not isinstance(part, dict):
        return isinstance(part, str)
    if part.get("type") == "image_url":
        image = part.get("image_url")
        address = image.get("url") if isinstance(image, dict) else image
        return isinstance(address, str) and address.startswith("data:")
    return part.get("type") in _INLINE


def _one(count: object) -> bool:
    return count is None or (_is_number(count, int) and count == 1)


def _is_number(value: object, *kinds: type) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool)
