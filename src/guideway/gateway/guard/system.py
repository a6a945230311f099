"""The release's system prompt stands first in every conversation; what a client calls one follows it."""

from __future__ import annotations

from typing import Any

SYSTEM_ROLES = frozenset({"system", "developer"})


def with_system(body: dict[str, Any], system: str) -> dict[str, Any]:
    """*body* of a chat with *system* put first.

    The system and developer messages at the beginning of the client's own follow in the same message, each after
    a blank line, because many templates take only one. Later ones stay where they are.
    """
    messages = body.get("messages")
    if not system or not isinstance(messages, list):
        return body
    texts, count = [system], 0
    for message in messages:
        text = _text(message)
        if text is None:
            break
        texts.append(text)
        count += 1
    first = {"role": "system", "content": "\n\n".join(text for text in texts if text)}
    return {**body, "messages": [first, *messages[count:]]}


def _text(message: Any) -> str | None:
    """The text of a system message; None: it is another one, or has more than text."""
    if not isinstance(message, dict) or message.get("role") not in SYSTEM_ROLES:
        return None
    content = message.get("content")
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return None
    parts = [part.get("text") if isinstance(part, dict) else None for part in content]
    texts = [part for part in parts if isinstance(part, str)]
    return "".join(texts) if len(texts) == len(parts) else None
