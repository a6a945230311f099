"""The tokenizer as GGUF holds it: tokens, merges, and the name of the rule that cuts text into words.

llama.cpp knows those rules by name only, so a tokenizer with another one cannot be served by it: it would read other
tokens than the model has learned, and say nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tokenizers import Tokenizer

from guideway.core.errors import GuidewayError
from guideway.replica.text import Text

NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5
"""Kinds of tokens in GGUF: learned, special, added but plain, and never used."""
_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
RULES: dict[tuple[str, ...], str] = {
    ("bytes and words",): "gpt-2",
    ("digits", "bytes and words"): "smollm",
    (_CONTRACTIONS + r"\p{N}{1,3}" + _REST, "bytes"): "smaug-bpe",
    (_CONTRACTIONS + r"\p{N}" + _REST, "bytes"): "qwen2",
}
"""How a text is cut, and what llama.cpp calls that. "Words" are those of GPT-2."""
WHOLE = {"smaug-bpe": "llama-bpe"}
"""The same cut, where a word that is a token is never made of merges."""


class Words(NamedTuple):
    """All that GGUF says of a tokenizer. ``ends`` are the tokens that end an answer, the tokenizer's own first."""

    rule: str
    tokens: list[str]
    kinds: list[int]
    merges: list[str]
    ends: list[int]
    begin: int | None
    adds_begin: bool
    template: str


def words_of(folder: Path, vocabulary: int) -> Words:
    """What GGUF says of the tokenizer in the Hugging Face *folder*; tokens are filled up to *vocabulary*.

    Raises:
        GuidewayError: llama.cpp would read text as other tokens, or end answers elsewhere.
    """
    said = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    rule = rule_of(said)
    text = Text(folder)
    tokens, kinds = _tokens(said, vocabulary)
    merges = [one if isinstance(one, str) else " ".join(one) for one in said["model"]["merges"]]
    begin = text.tokenizer.token_to_id(text.special.get("bos_token", ""))
    return Words(rule, tokens, kinds, merges, _ends(text), begin, _adds_begin(text.tokenizer, begin), text.template)


def rule_of(said: Mapping[str, Any]) -> str:
    """What llama.cpp calls the way in which a ``tokenizer.json`` cuts text.

    Raises:
        GuidewayError: it has no name for it.
    """
    model, normalizer = said["model"], said.get("normalizer")
    if model.get("type") != "BPE" or model.get("byte_fallback") or (normalizer and normalizer["type"] != "NFC"):
        raise _other("it is no byte-level BPE")
    cut = said.get("pre_tokenizer") or {}
    parts = cut.get("pretokenizers", [cut])
    name = RULES.get(tuple(_part(one) for one in parts))
    if name is None:
        raise _other("llama.cpp has no name for how it cuts text into words")
    return WHOLE.get(name, name) if model.get("ignore_merges") else name


def _part(part: Mapping[str, Any]) -> str:
    """One step of cutting, in the words of ``RULES``; the pattern, where it is one."""
    kind = part.get("type")
    if kind == "ByteLevel" and not part.get("add_prefix_space"):
        return "bytes and words" if part.get("use_regex", True) else "bytes"
    if kind == "Digits" and part.get("individual_digits"):
        return "digits"
    if kind == "Split" and part.get("behavior") == "Isolated" and not part.get("invert"):
        return str(part["pattern"].get("Regex", ""))
    return "unknown"


def _tokens(said: Mapping[str, Any], vocabulary: int) -> tuple[list[str], list[int]]:
    """Every token by its number, and its kind; numbers that no token has are unused."""
    tokens, kinds = [f"[unused {number}]" for number in range(vocabulary)], [UNUSED] * vocabulary
    for token, number in said["model"]["vocab"].items():
        tokens[number], kinds[number] = token, NORMAL
    for one in said["added_tokens"]:
        if one["lstrip"] or one["rstrip"] or one["single_word"]:
            raise _other(f"its token '{one['content']}' takes in what stands beside it")
        tokens[one["id"]] = one["content"]
        kinds[one["id"]] = CONTROL if one["special"] else USER_DEFINED
    return tokens, kinds


def _ends(text: Text) -> list[int]:
    """The tokens that end an answer, the tokenizer's own first.

    Raises:
        GuidewayError: there are more than GGUF has names for.
    """
    own: int | None = text.tokenizer.token_to_id(text.special.get("eos_token", ""))
    every = text.stop_ids if own is None else text.stop_ids | {own}
    ends = sorted(every, key=lambda one: (one != own, one))
    if not 0 < len(ends) <= 3:
        raise _other(f"{len(ends)} tokens end an answer, and GGUF names one to three")
    return ends


def _adds_begin(tokenizer: Tokenizer, begin: int | None) -> bool:
    """Is the token *begin* put before every text?

    Raises:
        GuidewayError: something else is put around a text.
    """
    bare, whole = (tokenizer.encode("a", add_special_tokens=added).ids for added in (False, True))
    if whole == bare:
        return False
    if whole != [begin, *bare]:
        raise _other("it puts more around a text than a token at its beginning")
    return True


def _other(why: str) -> GuidewayError:
    return GuidewayError(
        f"the tokenizer cannot be written as GGUF: {why}",
        where="serve.engine",
        try_this="train anew with engine: llamacpp in the spec, take a base whose tokenizer is that of GPT-2, Llama 3 "
        "or Qwen, or write engine: onnx",
    )
