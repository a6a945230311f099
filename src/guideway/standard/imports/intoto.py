"""in-toto Statement v1, bare or in a DSSE envelope: a test result, or evidence that Guideway left elsewhere.

A signature is not checked: whoever imports the statement answers for it and signs anew.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection
from typing import Any, Literal, NamedTuple

import msgspec

from guideway.core.artifact import Digest
from guideway.core.dossier import code_subject
from guideway.core.errors import SpecError
from guideway.core.evidence import Evidence
from guideway.signing.dsse import PAYLOAD_TYPE, Envelope
from guideway.signing.statements import EVIDENCE, PROVENANCE, STATEMENT, TEST_RESULT
from guideway.standard.imports.found import Figure, Found, Imported, one_line
from guideway.standard.imports.json_values import converted, parsed

OURS = (EVIDENCE, PROVENANCE)
_HEX = frozenset("0123456789abcdef")


class Statement(NamedTuple):
    """A statement: predicate type and predicate, the digests that it is about, and whether it was signed."""

    kind: str
    predicate: dict[str, Any]
    subjects: frozenset[Digest]
    note: str


class _Subject(msgspec.Struct, frozen=True):
    digest: dict[str, str]
    name: str = ""


class _Outer(msgspec.Struct, frozen=True, rename="camel"):
    type: str = msgspec.field(name="_type")
    subject: tuple[_Subject, ...]
    predicate_type: str
    predicate: dict[str, Any]


class _TestResult(msgspec.Struct, frozen=True, rename="camel"):
    result: Literal["PASSED", "WARNED", "FAILED"]
    passed_tests: tuple[str, ...] | None = None
    warned_tests: tuple[str, ...] | None = None
    failed_tests: tuple[str, ...] | None = None


class _Evidence(msgspec.Struct, frozen=True):
    evidence: tuple[Evidence, ...]


class _Annotations(msgspec.Struct, frozen=True):
    evidence: tuple[Evidence, ...] = ()


class _ByProduct(msgspec.Struct, frozen=True):
    annotations: _Annotations = _Annotations()


class _RunDetails(msgspec.Struct, frozen=True):
    byproducts: tuple[_ByProduct, ...] = ()


class _Definition(msgspec.Struct, frozen=True, rename="camel"):
    resolved_dependencies: tuple[_Subject, ...] = ()


class _Provenance(msgspec.Struct, frozen=True, rename="camel"):
    build_definition: _Definition
    run_details: _RunDetails = _RunDetails()


def opened(data: bytes, name: str) -> Statement:
    """The statement in *data*.

    Raises:
        SpecError: not a statement v1, a damaged envelope, or a subject without a digest that we know.
    """
    value, note = parsed(data, name), "not signed"
    if isinstance(value, dict) and "payload" in value:
        value, note = _unwrapped(value, name)
    outer = converted(value, _Outer, name, "not an in-toto statement")
    if outer.type != STATEMENT:
        raise SpecError(f"'{one_line(outer.type)}' is not read, only {STATEMENT}", where=name)
    if not outer.subject:
        raise SpecError("the statement is about nothing", where=name)
    subjects = frozenset(digest for one in outer.subject for digest in _digests(one, name))
    return Statement(outer.predicate_type, outer.predicate, subjects, note)


def failed(statement: Statement, name: str) -> Figure:
    """Tests that failed; n is how many are named. A result FAILED that names none counts as one.

    Raises:
        SpecError: not a test result, or none that names a test.
    """
    if statement.kind != TEST_RESULT:
        raise SpecError(
            f"predicates of type '{one_line(statement.kind)}' are not read", where=name, try_this=f"read: {TEST_RESULT}"
        )
    said = converted(statement.predicate, _TestResult, name, "not a test result")
    bad = set(said.failed_tests or ())
    every = bad.union(said.passed_tests or (), said.warned_tests or ())
    unnamed = said.result == "FAILED" and not bad
    count, n = len(bad) + unnamed, len(every) + unnamed
    if not n:
        raise SpecError(f"the result is {said.result}, and no test is named", where=name)
    return Figure(count, "tests", n, None, f"in-toto test result, {statement.note}")


def own(statement: Statement, name: str, known: Collection[str]) -> Found:
    """Evidence that Guideway left, as far as its metric is *known*; all of it must be about one digest.

    Raises:
        SpecError: no such evidence, some is about what the statement does not name, or several digests.
    """
    evidence, named = _evidence(statement, name)
    chosen = [one for one in evidence if one.metric in known]
    if not chosen:
        asked = ", ".join(sorted(known)[:6])
        raise SpecError("nothing in this statement may be imported for that", where=name, try_this=f"asked: {asked}")
    for one in chosen:
        if one.subject.digest not in named:
            raise SpecError(f"'{one_line(one.metric)}' is about a digest that the statement does not name", where=name)
    about = frozenset(one.subject.digest for one in chosen)
    if len(about) > 1:
        raise SpecError(
            f"the facts are about {len(about)} digests", where=name, try_this="name one clause: --clause ID"
        )
    note = f"{len(chosen)} of {len(evidence)} facts of a Guideway statement, {statement.note}"
    return Found(tuple(_imported(one, note, name) for one in chosen), about)


def _evidence(statement: Statement, name: str) -> tuple[tuple[Evidence, ...], frozenset[Digest]]:
    """The evidence in a statement of ours, and the digests that it may be about: of a step, its inputs too."""
    if statement.kind == EVIDENCE:
        return converted(statement.predicate, _Evidence, name, "not Guideway evidence").evidence, statement.subjects
    said = converted(statement.predicate, _Provenance, name, "not the provenance of a Guideway step")
    inputs = {digest for one in said.build_definition.resolved_dependencies for digest in _digests(one, name)}
    found = tuple(one for product in said.run_details.byproducts for one in product.annotations.evidence)
    return found, statement.subjects | inputs


def _imported(one: Evidence, note: str, name: str) -> Imported:
    at = one.at or None
    if (at is not None and at < 0) or one.n < 0:
        raise SpecError(f"'{one_line(one.metric)}' has a time or a number below zero", where=name)
    return Imported(
        metric=one.metric,
        value=one.value,
        unit=one_line(one.unit),
        n=one.n,
        interval=one.interval,
        slice=one_line(one.slice),
        at=at,
        valid_until=one.valid_until,
        note=note,
    )


def _unwrapped(value: dict[str, Any], name: str) -> tuple[Any, str]:
    envelope = converted(value, Envelope, name, "not a DSSE envelope")
    if envelope.payload_type != PAYLOAD_TYPE:
        raise SpecError(f"the envelope holds '{one_line(envelope.payload_type)}', not {PAYLOAD_TYPE}", where=name)
    try:
        payload = base64.b64decode(envelope.payload, validate=True)
    except (binascii.Error, ValueError):
        raise SpecError("the payload of the envelope is not base64", where=name) from None
    keys = [one_line(one.keyid or "", 13) or "without a name" for one in envelope.signatures]
    note = f"signed by key {keys[0]}, not checked" if keys else "not signed"
    return parsed(payload, f"{name}: payload"), note


def _digests(subject: _Subject, name: str) -> list[Digest]:
    """SHA-256 as we write it; a git commit as the digest that stands for code."""
    found = []
    for algorithm, length in (("sha256", 64), ("gitCommit", 40)):
        digits = subject.digest.get(algorithm)
        if digits is None:
            continue
        if len(digits) != length or not _HEX.issuperset(digits):
            raise SpecError(f"'{one_line(digits)}' is not a {algorithm} digest", where=name)
        found.append("sha256:" + digits if algorithm == "sha256" else code_subject(digits))
    if not found:
        called = one_line(subject.name) or "a subject"
        raise SpecError(f"'{called}' has no sha256 and no gitCommit digest", where=name)
    return found
