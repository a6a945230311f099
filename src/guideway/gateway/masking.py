"""Personal data in prompts: masked before a replica sees it, put back in the answer, for one request only."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from guideway.core.privacy import Action, Entity
from guideway.gateway.errors import ApiError
from guideway.privacy.conceal import Conceal
from guideway.privacy.detect import find, suspicious
from guideway.privacy.mask import PLACEHOLDER, Blocked, Finder, Vault
from guideway.privacy.stream import Chain, Restore, TextStream

FAILED = ApiError(500, "the request could not be checked for personal data", "server_error", code="masking_failed")
_AS_TEXT = ApiError(400, "send text: tokens cannot be checked for personal data", param="prompt", code="personal_data")
_DEPTH = 64
_KEPT = frozenset({"model", "role", "type", "id", "tool_call_id", "datatype", "encoding_format", "format", "detail"})
"""Words of the API, which are compared and never read."""
_BINARY = frozenset({"input_audio", "file_data"})
_SIMPLE = re.compile(rb'\\[nrtbf"/\\]')
_BRACKET = re.compile(rb"\[[A-Z_]+_[1-9]")


class Masked(msgspec.Struct):
    """A prompt that may be sent. ``vault`` holds what is to be put back; None: nothing."""

    data: dict[str, Any] | None
    vault: Vault | None = None
    kinds: tuple[str, ...] = ()


class Masking:
    """What one policy does with prompts and answers. *actions* says what is done with each kind of data.

    *output*: also what the model says of its own is looked at.
    """

    def __init__(self, actions: Mapping[Entity, Action], *, output: bool = True, finder: Finder = find) -> None:
        self.wanted = frozenset(entity for entity, action in actions.items() if action != "allow")
        self.output = output and bool(self.wanted)
        self.digest = hashlib.sha256(msgspec.json.encode([sorted(actions.items()), output])).digest()
        self._actions, self._finder = actions, finder
        self._patterns_only = finder is find

    def mask(self, body: bytes, data: dict[str, Any] | None) -> Masked | ApiError:
        """*body* without personal data; *data*: its decoded form, if there is one. An analyser that fails refuses."""
        if not self.wanted:
            return Masked(data)
        try:
            if not body or (self._patterns_only and is_quiet(body)):
                return Masked(data)
            return self._masked(msgspec.json.decode(body) if data is None else data)
        except Blocked as blocked:
            kinds = ", ".join(sorted(blocked.kinds))
            return ApiError(400, f"the prompt has personal data that must not be sent: {kinds}", code="personal_data")
        except Exception:
            return FAILED

    def _masked(self, data: Any) -> Masked | ApiError:
        if any(_has_tokens(data.get(name)) for name in ("prompt", "input")):
            return _AS_TEXT
        vault = Vault(self._actions, self._finder)
        masked = _walk(data, vault, 0)
        return Masked(masked, vault if vault.values else None, tuple(sorted(vault.kinds)))

    def stream(self, channel: str, vault: Vault | None) -> TextStream | None:
        """What a text of the answer runs through; None: nothing is done with it."""
        streams: list[TextStream] = []
        if self.output:
            streams.append(Conceal(self.wanted, frozenset(vault.values.values()) if vault is not None else ()))
        if vault is not None:
            streams.append(Restore(vault, escape=channel == "arguments"))
        if not streams:
            return None
        return streams[0] if len(streams) == 1 else Chain(streams)


def is_quiet(body: bytes) -> bool:
    """Is there surely nothing in the JSON text *body* that looks like personal data or like a placeholder?"""
    if b"\\u" in body or _BRACKET.search(body):
        return False
    plain = _SIMPLE.sub(b"  ", body) if b"\\" in body else body
    return not suspicious(plain.decode())


def _walk(value: Any, vault: Vault, depth: int) -> Any:
    """*value* with every text masked, but words of the API and what is no text."""
    if isinstance(value, str):
        return value if value.startswith("data:") else vault.mask(value)
    if depth > _DEPTH:
        raise ValueError("nested too deeply")
    if isinstance(value, list):
        return [_walk(one, vault, depth + 1) for one in value]
    if isinstance(value, dict):
        return {
            name: one if name in _KEPT or name in _BINARY else _walk(one, vault, depth + 1)
            for name, one in value.items()
        }
    return value


def _has_tokens(value: Any) -> bool:
    """Is it a prompt of numbers, which nobody here can read?"""
    first = value[0] if isinstance(value, list) and value else None
    return isinstance(first, int) or (isinstance(first, list) and bool(first) and isinstance(first[0], int))


__all__ = ["FAILED", "PLACEHOLDER", "Masked", "Masking", "is_quiet"]
