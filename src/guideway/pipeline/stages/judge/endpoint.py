"""The judge at its address: bounded in time, tries and requests, and what it said is kept for whoever goes on."""

from __future__ import annotations

import hashlib
import json
import os
import ssl
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from guideway.core.errors import GuidewayError, Unavailable
from guideway.core.spec.judge import Judge
from guideway.kit.call import Answer, NoAnswer, call, request
from guideway.kit.retry import pauses

LIMIT = 1 << 20
"""Bytes of a reply."""
AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
"""Statuses that may pass."""
WORDS = 200
"""Characters that are repeated of what a server says of an error."""


class Spent(Exception):
    """No request is left."""


class Endpoint:
    """Asks one judge. Safe to call from several threads.

    Args:
        kept: a file of replies; a question that was answered before is not asked again.

    Raises:
        GuidewayError: the environment has no key where the spec says that it is.
    """

    def __init__(self, asked: Judge, kept: Path) -> None:
        self._asked, self._kept = asked, kept
        self._key = _key(asked.key_env)
        self._lock = threading.Lock()
        self._known = _read(kept)
        self._left, self.made = asked.most - len(self._known), 0

    def reply(self, messages: Sequence[Mapping[str, str]]) -> str | None:
        """What the judge says; None: after all tries there is no reply that can be read.

        Raises:
            Spent: no request is left.
            Unavailable: the judge refuses to be asked at all.
        """
        body = self._body(messages)
        name = hashlib.sha256(body).hexdigest()
        if name in self._known:
            return self._known[name]
        for pause in (*pauses(self._asked.retries + 1), None):
            said = self._try(body)
            if said is not None:
                self._keep(name, said)
                return said
            if pause is not None:
                time.sleep(pause)
        return None

    def _body(self, messages: Sequence[Mapping[str, str]]) -> bytes:
        asked = self._asked
        wish = {"model": asked.model, "messages": messages, "temperature": 0, "max_tokens": asked.reply_tokens}
        return json.dumps(wish, ensure_ascii=False).encode()

    def _try(self, body: bytes) -> str | None:
        with self._lock:
            if self._left <= 0:
                raise Spent
            self._left -= 1
            self.made += 1
        try:
            answer = self._call(body)
        except NoAnswer:
            return None
        if answer.status in AGAIN:
            return None
        if answer.status != 200:
            self._left = 0  # whoever is about to ask need not try
            raise self._refused(answer)
        return _content(answer.body)

    def _call(self, body: bytes) -> Answer:
        parts = urlsplit(self._asked.url)
        secure = parts.scheme == "https"
        headers = [("Content-Type", "application/json"), ("Accept", "application/json")]
        headers += [("Authorization", f"Bearer {self._key}")] if self._key else []
        data = request("POST", f"{parts.path.rstrip('/')}/chat/completions", parts.netloc, body, tuple(headers))
        address = (parts.hostname or "", parts.port or (443 if secure else 80))
        tls = ssl.create_default_context() if secure else None
        return call(address, data, seconds=self._asked.timeout, limit=LIMIT, tls=tls)

    def _refused(self, answer: Answer) -> GuidewayError:
        said = " ".join(self._without_key(answer.body.decode("utf-8", "replace")).split())[:WORDS]
        where = urlsplit(self._asked.url).netloc
        named = f" in ${self._asked.key_env}" if self._asked.key_env else ""
        advice = {
            401: f"is the key{named} right?",
            403: f"may the key{named} use this model?",
            404: "mend url or model",
        }
        return Unavailable(
            f"the judge refuses with status {answer.status}: {said}",
            where=where,
            try_this=advice.get(answer.status, "ask it by hand with the same model"),
        )

    def _keep(self, name: str, said: str) -> None:
        with self._lock:
            self._known[name] = said
            with self._kept.open("a", encoding="utf-8") as file:
                file.write(json.dumps([name, self._without_key(said)]) + "\n")

    def _without_key(self, said: str) -> str:
        """*said* before it is cut: half a key would not be found."""
        return said.replace(self._key, "…") if self._key else said


def _key(name: str) -> str:
    if not name:
        return ""
    key = os.environ.get(name, "").strip()
    if not key or not all("!" <= letter <= "~" for letter in key):
        raise GuidewayError(
            f"there is no key for the judge in ${name}", where="evaluate.judge.key_env", try_this=f"export {name}=..."
        )
    return key


def _read(kept: Path) -> dict[str, str]:
    """Replies of an earlier run that was killed; a line that is not whole was never said."""
    found: dict[str, str] = {}
    if kept.is_file():
        for line in kept.read_bytes().splitlines():
            try:
                name, said = msgspec.json.decode(line, type=tuple[str, str])
            except msgspec.DecodeError:
                continue
            found[name] = said
    return found


def _content(body: bytes) -> str | None:
    """The text of the first choice; None: there is none."""
    try:
        said: Any = msgspec.json.decode(body)["choices"][0]["message"]["content"]
    except (msgspec.DecodeError, LookupError, TypeError):
        return None
    return said if isinstance(said, str) else None
