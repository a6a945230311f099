"""No text that comes from outside is ever read as SQL: it is kept and found as it is, or refused in one line."""

from __future__ import annotations

import contextlib

import msgspec
import pytest
from postgres_rig import as_owner

from guideway.core.errors import GuidewayError, SpecError
from guideway.core.evidence import Evidence, Subject
from guideway.core.launch import Process, Replica
from guideway.core.release import Release
from guideway.core.rollout import Phase, Rollout
from guideway.core.route import ApiKey, Route
from guideway.store import api_keys, evidence, fleet, ledger, releases, steps, tables, usage, waivers

HOSTILE = (
    "'; DROP TABLE ledger; --",
    '" OR ""="',
    "' OR '1'='1",
    "x') UNION SELECT value FROM meta --",
    "\\'; DELETE FROM api_keys; --",
    "%s %(name)s %d %%",
    ":name ?1 $1 @x",
    "a/*b*/c",
    "ä 新 \N{GRINNING FACE} \u202e",
    "line\nbreak\ttab\r",
    "_%",
    "$$ ; $$",
)


def names(database) -> set[str]:
    return {table.name for table in tables.TABLES.sorted_tables if table.name != "meta"}


def counted(where, database):
    return {name: as_owner(where, f"SELECT count(*) FROM {name}")[0][0] for name in names(database)}


@pytest.mark.catalogue("B20")
@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_kept_as_it_is_wherever_it_is_written(database, text):
    database_of = ledger.append(database, at=1.0, who=text, what=text, subject=text, why=text, data={text: text})
    assert next(ledger.entries(database, what=text, subject=text)) == database_of
    api_keys.put(database, text, ApiKey(id=text, digest=text, label=text))
    assert api_keys.all_of(database, text)[0].id == text
    usage.add(database, text, 1, usage.Use(1))
    assert usage.of_day(database, 1) == {text: usage.Use(1)}
    usage.claim(database, text, "day", 1, need=(1, 0, 0), want=(1, 0, 0), limit=(1, 1, 1))
    release = releases.add(database, Release(digest=text, name=text, number=0, created=1.0))
    assert releases.by_digest(database, text) == release == releases.newest(database, text)
    releases.put_admission(database, release=text, environment=text, verdict="PASS", envelope=text, at=1.0)
    assert releases.admission(database, text, text) == text
    fleet.put_route(database, Route(text, text, revision=1, epoch=1))
    assert fleet.route(database, text).model == text
    fleet.put_replica(database, Replica(text, text, text, 1, Process(1, text), text, text, 1.0))
    assert fleet.replicas(database, text)[0].id == text
    plain = Rollout(text, text, text, None, Phase.PENDING, 1.0, 1.0, ready_within=1.0, bake=1.0)
    fleet.begin_rollout(database, plain)
    assert fleet.rollouts(database, text, running=True) == [plain] == [fleet.rollout(database, text)]
    fact = evidence.Kept.of(Evidence(text, 1.0, text, Subject("data", text)), envelope=text, signer=text)
    evidence.put(database, fact)
    assert evidence.about(database, [text]) == [fact]
    waiver = waivers.Waiver(text, text, text, (text,), text, text, 1.0, 2.0)
    waivers.put(database, waiver)
    assert waivers.all_of(database, text, text) == [waiver]
    assert ledger.verify(database) == 1


@pytest.mark.catalogue("B20")
@pytest.mark.parametrize("text", HOSTILE)
def test_asking_for_hostile_text_finds_nothing_and_changes_nothing(database, where, text):
    ledger.append(database, at=1.0, who="ann", what="build", subject="s")
    releases.add(database, Release(digest="sha256:" + "a" * 64, name="m", number=0, created=1.0))
    before = counted(where, database)
    assert list(ledger.entries(database, what=text)) == list(ledger.entries(database, subject=text)) == []
    assert api_keys.all_of(database, text) == fleet.rollouts(database, text) == fleet.replicas(database, text) == []
    assert steps.step(database, text) is steps.latest(database, text) is fleet.route(database, text) is None
    assert fleet.environment(database, text) is fleet.rollout(database, text) is None
    assert evidence.about(database, [text]) == waivers.all_of(database, text, text) == []
    assert releases.admission(database, text, text) is None
    for find in (releases.find, evidence.by_digest, releases.newest):
        with pytest.raises(SpecError):
            find(database, text)
    fleet.drop_replica(database, text)
    steps.forget(database, text)
    assert counted(where, database) == before


@pytest.mark.parametrize(("text", "says"), [("a\x00b", "zero byte"), ("a\udcffb", "not Unicode")])
def test_text_that_a_database_cannot_keep_is_one_line_and_the_connection_lives(database, text, says):
    outcomes = []
    for what in (lambda: releases.by_digest(database, text), lambda: api_keys.all_of(database, text)):
        with contextlib.suppress(GuidewayError):
            try:
                outcomes.append(what())
            except GuidewayError as error:
                assert says in str(error)
                raise
    assert set(map(str, outcomes)) <= {"None", "[]"}  # SQLite can keep a zero byte
    assert ledger.append(database, at=1.0, who="ann", what="build", subject="s").seq == 1


@pytest.mark.parametrize("text", ["", "g", "zzzz", "sha256:", "abc", "v", "999999999999999999999", "m:", ":1", "²"])
def test_digits_that_mean_nothing_are_no_release(database, text):
    releases.add(database, Release(digest="sha256:" + "a" * 64, name="m", number=0, created=1.0))
    with pytest.raises(SpecError, match="no release here is called"):
        releases.find(database, text)


def test_first_digits_find_exactly_what_begins_with_them_whatever_the_collation(database):
    digests = ["sha256:" + first + "0" * (64 - len(first)) for first in ("a", "9", "a9", "a10", "b", "fffff", "0")]
    for number, digest in enumerate(digests):
        subject = Subject("data", f"s{number}")
        fact = evidence.Kept.of(Evidence("m", float(number), "", subject), envelope="e", signer="ann")
        evidence.put(database, msgspec.structs.replace(fact, digest=digest))
    for first in ("a9", "a10", "b", "f", "fffff", "0", "9"):
        assert evidence.by_digest(database, first).digest.startswith("sha256:" + first)
    with pytest.raises(SpecError, match="more than one piece of evidence begins with 'a'"):
        evidence.by_digest(database, "a")
