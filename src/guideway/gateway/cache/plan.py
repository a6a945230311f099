"""What the cache may do for one request: read, keep, or nothing."""

from __future__ import annotations

import re

import msgspec

from guideway.core.terms import Terms
from guideway.gateway.cache import key
from guideway.gateway.cache.repeatable import SAMPLED, repeatable

_PARTS = re.compile(rb'"content"\s*:\s*\[')


class Call(msgspec.Struct, gc=False):
    """One request as the cache sees it.

    ``body`` is what the client sent, before anything is masked or put before it; ``masking`` the digest of the
    masking policy in force; ``control`` the value of its ``Cache-Control`` header. ``plain``: the body names no
    parameter that changes no answer, or makes it a matter of chance or of the world outside; ``greedy``: it asks for
    temperature 0 itself.
    """

    tenant: str
    path: bytes
    body: bytes
    release: str
    terms: Terms = Terms()
    masking: bytes = b""
    control: bytes = b""
    plain: bool = False
    greedy: bool = False


class Plan(msgspec.Struct, gc=False):
    """The keys of one request, and what its answer may be used for. ``oldest``: how many seconds old a hit may be."""

    key: bytes
    unit: bytes
    reads: bool
    keeps: bool
    oldest: float = float("inf")


def plan(call: Call) -> Plan | None:
    """The plan for *call*; None when its body has no one meaning. ``unit`` is there even if nothing may be kept."""
    body = call.body
    if not call.plain or call.path not in SAMPLED or (body.count(b"[") > 1 and _may_have_parts(body)):
        return _read(call)
    unit = key.raw_unit(body, tenant=call.tenant, path=call.path, masking=call.masking)
    return _granted(call, unit, call.greedy or call.terms.temperature == 0)


def _may_have_parts(body: bytes) -> bool:
    """Could a message be a list of parts? Each may bring in pictures from elsewhere, with or without its type named."""
    return b"\\u" in body or _PARTS.search(body) is not None


def _read(call: Call) -> Plan | None:
    """The plan for a call whose parameters have to be looked at one by one."""
    asked = key.read(call.body)
    if asked is None:
        return None
    unit = key.unit_key(asked, tenant=call.tenant, path=call.path, masking=call.masking)
    return _granted(call, unit, repeatable(call.path, asked.parameters, call.terms.temperature))


def _granted(call: Call, unit: bytes, is_repeatable: bool) -> Plan:
    """What the release and the client allow. The key is the same whatever that is: what one keeps, another reads."""
    digest = unit + key.release_key(call.release)
    known = is_repeatable and call.terms.cacheable
    if not known or not call.control:
        return Plan(digest, unit, known, known)
    return _as_asked(digest, unit, call.control)


def _as_asked(digest: bytes, unit: bytes, control: bytes) -> Plan:
    """What the client's ``Cache-Control`` leaves: no-store is neither read nor kept, no-cache is kept only."""
    directives = {
        name.strip(): value.strip() for name, _, value in (part.partition(b"=") for part in control.lower().split(b","))
    }
    if b"no-store" in directives:
        return Plan(digest, unit, reads=False, keeps=False)
    oldest = _seconds(directives[b"max-age"]) if b"max-age" in directives else float("inf")
    return Plan(digest, unit, reads=b"no-cache" not in directives and oldest > 0, keeps=True, oldest=oldest)


def _seconds(value: bytes) -> float:
    """An age that nobody can read allows none."""
    return float(value) if value.isdigit() and len(value) < 12 else 0.0
