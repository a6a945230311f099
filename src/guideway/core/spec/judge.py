"""The key ``evaluate.judge``: a model elsewhere says which of two answers is better."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from guideway.core.spec.part import Part, Positive
from guideway.kit.addresses import is_forbidden, is_loopback


class Judge(Part, frozen=True):
    """Who judges (``url`` of an OpenAI-compatible API up to ``/v1``, ``model``), by which rubric, and what it may cost.

    ``key_env`` names the environment variable with the key. ``against`` is what answers are compared with: of the
    nearest training row, of the release that serves, or the right ones. ``most`` bounds the requests, those that are
    made again included; ``timeout`` is in seconds, ``reply_tokens`` bounds what the judge writes.
    """

    model: Annotated[str, Meta(min_length=1)]
    rubric: Annotated[str, Meta(min_length=1)]
    url: str = ""
    key_env: Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$|^$")] = ""
    against: Literal["baseline", "serving", "reference"] = "baseline"
    split: str = ""
    examples: Positive = 50
    max_tokens: Positive = 128
    most: Positive = 200
    retries: Annotated[int, Meta(ge=0, le=5)] = 2
    timeout: Annotated[float, Meta(gt=0.0, le=600.0)] = 60.0
    reply_tokens: Positive = 512
    parallel: Annotated[int, Meta(ge=1, le=32)] = 4


def problem_of(asked: Judge) -> str:
    """What is wrong with the address of the judge; empty: nothing."""
    try:
        parts = urlsplit(asked.url)
        port = parts.port
    except ValueError:
        return "the judge's url is none"
    sound = parts.hostname and port != 0 and not any(letter <= " " or letter > "~" for letter in asked.url)
    if not sound or parts.scheme not in {"http", "https"} or parts.query or parts.fragment:
        return "the judge's url is none"
    if parts.username is not None or parts.password is not None:
        return "the judge's url holds a name or a password, which would be written down"
    if is_forbidden(parts.hostname or ""):
        return "the judge's url is an address that no such server has"
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        return "prompts and key would travel in clear to the judge"
    return ""


def without_place(judge: Judge) -> Judge:
    """*judge* as it goes into a release: who judged and how, and not where it was reached."""
    return msgspec.structs.replace(judge, url="", key_env="")
