"""``POST /v1/feedback``: a tenant judges an answer that it was given.

A worker forgets a request when it is over, so the request id itself proves whose it was. 48 hexadecimal digits:
``random (8 bytes) | day since 1970 (2) | release (5) | arm (1) | MAC of all that and the tenant (8)``.
"""

from __future__ import annotations

import asyncio
import binascii
import contextlib
import hashlib
import hmac
import struct
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import msgspec

from guideway.core.feedback import Judgement
from guideway.core.route import ApiKey
from guideway.gateway import errors
from guideway.gateway.errors import ApiError
from guideway.gateway.log import log
from guideway.store.feedback_spool import Spool

PATH = b"/v1/feedback"
RECEIVED = b'{"object":"feedback","status":"received"}'
BODY_BYTES = 64 * 1024
CORRECTION_BYTES = 16 * 1024
COMMENT_BYTES = 4 * 1024
LABEL_BYTES = 256
PENDING = 64
DAYS = 90
"""How long a request can be judged."""

NO_REQUEST = ApiError(404, "you made no such request in the last 90 days", param="request_id", code="request_not_found")
BUSY = ApiError(
    503, "feedback cannot be kept now; try again", "server_error", code="unavailable", lines=b"Retry-After: 5\r\n"
)

RANDOM_BYTES = 8
_DAY_SECONDS = 86_400
_MAC_BYTES = 8
_MARK = struct.Struct(">H5sB")
_ARMS: tuple[str, ...] = ("", "stable", "candidate", "shadow")

ArmName = Literal["", "stable", "candidate", "shadow"]


class Claim(msgspec.Struct, frozen=True):
    """What a request id says: when, of which release (the first ten digits of its digest), from which arm."""

    day: int
    release: str
    arm: str


def secret_of(pepper: bytes, environment: str) -> bytes:
    """The key of the request ids of one environment."""
    return hmac.digest(pepper, b"guideway request id\0" + environment.encode(), "sha256")


def mark(day: int, release: str, arm: ArmName) -> bytes:
    """The part of an id that changes seldom: make it once for each arm and day. *release*: hexadecimal digits, or none.

    Args:
        day: days since 1970, in UTC.
    """
    digits = release.removeprefix("sha256:")[:10]
    return _MARK.pack(day & 0xFFFF, bytes.fromhex(digits), _ARMS.index(arm))


class RequestIds:
    """Makes and checks request ids under one secret."""

    def __init__(self, secret: bytes) -> None:
        self._seed = hashlib.blake2b(key=secret, digest_size=_MAC_BYTES)

    def make(self, random: bytes, mark: bytes, owner: str) -> bytes:
        """An id from 8 *random* bytes for a request of the tenant *owner*."""
        head = random + mark
        mac = self._seed.copy()
        mac.update(head + owner.encode())
        return binascii.hexlify(head + mac.digest())

    def check(self, id: str, owner: str) -> Claim | None:
        """What *id* says, if it was made here for a request of *owner*; compared in constant time."""
        with contextlib.suppress(ValueError):
            raw = binascii.unhexlify(id)
            head, given = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
            if len(head) == RANDOM_BYTES + _MARK.size and hmac.compare_digest(given, self._mac(head, owner)):
                day, release, arm = _MARK.unpack_from(head, RANDOM_BYTES)
                return Claim(day, release.hex() if any(release) else "", _ARMS[arm])
        return None

    def _mac(self, head: bytes, owner: str) -> bytes:
        mac = self._seed.copy()
        mac.update(head + owner.encode())  # the head has a fixed length: no two pairs look alike
        return mac.digest()


class Said(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a request to judge."""

    request_id: str
    thumb: Literal["up", "down"] | None = None
    label: str | None = None
    correction: str | None = None
    comment: str | None = None


Mask = Callable[[Sequence[str]], "list[str] | ApiError"]
"""Makes texts such as may be kept, or says why they may not."""

_decode = msgspec.json.Decoder(Said).decode
_TEXTS = ("label", "correction", "comment")


class Feedback:
    """Takes judgements on behalf of one worker. Only *mask* and the disk are waited for, in a thread of its own."""

    def __init__(self, ids: RequestIds, spool: Spool, environment: str, mask: Mask = list) -> None:
        self.ids = ids
        self._mask = mask
        self.dropped = 0
        self._spool, self._environment = spool, environment
        self._pending = 0
        self._thread = ThreadPoolExecutor(1, "feedback")

    def receive(self, key: ApiKey, body: bytes, now: float, answer: Callable[[ApiError | None], None]) -> None:
        """Keep what *body* says; *answer* hears None once it is on the disk, or why it is not taken.

        *now* in seconds since 1970. *answer* is called on the loop, for a refusal before this returns.
        """
        found = self._judgement(key, body, now)
        if isinstance(found, ApiError):
            answer(found)
        elif self._pending >= PENDING:
            self._failed("too many wait", answer)
        else:
            self._pending += 1
            loop = asyncio.get_running_loop()
            written = loop.run_in_executor(self._thread, self._keep, found)
            written.add_done_callback(lambda done: self._written(done, answer))

    def _judgement(self, key: ApiKey, body: bytes, now: float) -> Judgement | ApiError:
        said = read(body)
        if isinstance(said, ApiError):
            return said
        claim = self.ids.check(said.request_id, key.owner)
        if claim is None or not _in_time(claim.day, int(now // _DAY_SECONDS)):
            return NO_REQUEST
        return Judgement(
            request=said.request_id.lower(),
            key=key.id,
            owner=key.owner,
            environment=self._environment,
            release=claim.release,
            arm=claim.arm,
            at=now,
            thumb=said.thumb,
            label=said.label,
            correction=said.correction,
            comment=said.comment,
        )

    def _keep(self, found: Judgement) -> ApiError | None:
        """Write *found* down without personal data; or why it is refused. On the thread."""
        given = {name: text for name in _TEXTS if (text := getattr(found, name)) is not None}
        masked = self._mask(list(given.values()))
        if isinstance(masked, ApiError):
            return masked
        kept = msgspec.structs.replace(found, **dict(zip(given, masked, strict=True)))
        self._spool.append(msgspec.msgpack.encode(kept))
        return None

    def _written(self, done: asyncio.Future[ApiError | None], answer: Callable[[ApiError | None], None]) -> None:
        self._pending -= 1
        if done.cancelled():
            return
        error = done.exception()
        if error is None:
            answer(done.result())
        else:
            self._failed(getattr(error, "strerror", None) or type(error).__name__, answer)

    def _failed(self, why: str, answer: Callable[[ApiError | None], None]) -> None:
        self.dropped += 1
        log("feedback refused", why=why)
        answer(BUSY)

    def close(self) -> None:
        """Wait for what is being written."""
        self._thread.shutdown()
        self._spool.close()


def _in_time(day: int, today: int) -> bool:
    """Is *day*, of which 16 bits are known, at most 90 days ago? Clocks of two hosts may be a day apart."""
    return (today + 1 - day) & 0xFFFF <= DAYS + 1


def read(body: bytes) -> Said | ApiError:
    """What *body* says, or why it cannot be taken."""
    if len(body) > BODY_BYTES:
        return errors.too_large(BODY_BYTES)
    try:
        said = _decode(body)
    except msgspec.ValidationError as error:
        return errors.bad_body(f"the body is no feedback: {error}")
    except (msgspec.DecodeError, UnicodeDecodeError):
        return errors.bad_body("the body is not JSON")
    return _flaw(said) or said


def _flaw(said: Said) -> ApiError | None:
    limits = {"label": LABEL_BYTES, "correction": CORRECTION_BYTES, "comment": COMMENT_BYTES}
    given = {name: text for name in limits if (text := getattr(said, name)) is not None}
    for name, text in given.items():
        if len(text.encode()) > limits[name]:
            return errors.bad_body(f"'{name}' is longer than {limits[name]} bytes", name)
        if "\0" in text:
            return errors.bad_body(f"'{name}' holds a NUL character", name)
    if said.thumb is None and not given:
        return errors.bad_body("say something: 'thumb', 'label', 'correction' or 'comment'")
    return None
