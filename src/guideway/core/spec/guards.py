"""The key ``rollout.guards``: thresholds on numbers of Prometheus that hold a rollout while they are exceeded."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from guideway.core.promql import pieces
from guideway.core.spec.part import Part
from guideway.kit.addresses import is_loopback

Label = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]


class Guard(Part, frozen=True):
    """A query, asked ``every`` so many seconds of the server at the URL ``prometheus``, and the most it may give.

    Outside alpha: above ``at_most`` the weight is held; with ``stops`` the rollout ends. ``token_file`` holds a bearer
    token, ``ca_file`` the authority that signed the server's certificate (PEM).
    """

    name: Label
    prometheus: str
    query: str
    at_most: float
    stops: bool = False
    every: Annotated[float, Meta(ge=1.0, le=3600.0)] = 15.0
    token_file: str = ""
    ca_file: str = ""

    def __post_init__(self) -> None:
        problem = _of_url(self.prometheus) or _of_files(self) or _of_query(self.query)
        if not math.isfinite(self.at_most):
            problem = problem or "at_most is not a number"
        if problem:
            raise ValueError(f"guard '{self.name}': {problem}")


def check_names(guards: Iterable[Guard]) -> None:
    """Refuse two guards of one name.

    Raises:
        ValueError: there are; within ``__post_init__`` of a part it becomes an error with its line.
    """
    seen: set[str] = set()
    for guard in guards:
        if guard.name in seen:
            raise ValueError(f"guard '{guard.name}' is here twice: give each its own name")
        seen.add(guard.name)


def rooted(guards: Iterable[Guard], root: Path) -> tuple[Guard, ...]:
    """*guards* with the paths of their files beginning at *root*, the folder of the spec."""
    return tuple(
        msgspec.structs.replace(
            guard,
            token_file=str(root / guard.token_file) if guard.token_file else "",
            ca_file=str(root / guard.ca_file) if guard.ca_file else "",
        )
        for guard in guards
    )


def _of_url(url: str) -> str:
    """What is wrong with the URL; it is never repeated, because it may hold a password."""
    advice = "prometheus is no URL: write http://HOST:9090 or https://HOST"
    if any(letter <= " " or letter > "~" for letter in url):
        return advice
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - looking at it is the check
    except ValueError:
        return advice
    if parts.username is not None or parts.password is not None:
        return "prometheus holds a user or a password: put a token into a file, and name it in token_file"
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        return advice
    return ""


def _of_files(guard: Guard) -> str:
    parts = urlsplit(guard.prometheus)
    if parts.scheme == "https":
        return ""
    if guard.token_file and not is_loopback(parts.hostname or ""):
        return "the token would travel in clear: prometheus must begin with https://"
    return "ca_file means nothing without https://" if guard.ca_file else ""


def _of_query(query: str) -> str:
    try:
        pieces(query)
    except ValueError as error:
        return f"query: {error}"
    return ""
