"""Evidence and waivers as rows."""

from __future__ import annotations

import msgspec
import pytest

from guideway.core.artifact import digest_of
from guideway.core.evidence import Evidence, Interval, Producer, Subject
from guideway.store import evidence, waivers
from guideway.store.evidence import Kept
from guideway.store.waivers import Waiver

ONE, TWO = "sha256:" + "1" * 64, "sha256:" + "2" * 64


def fact(metric="exact_match", subject=ONE, at=1.0, **more) -> Kept:
    plain = Evidence(metric, 0.5, "share", Subject("artifact", subject, "compress"), at=at, **more)
    return Kept.of(plain, envelope="sha256:e", signer="ann")


def waiver(envelope="sha256:w", name="m", environment="prod", until=9.0) -> Waiver:
    return Waiver(envelope, name, environment, ("EVL-01", "ROB-02"), "a reason", "ann", 1.0, until)


def test_a_fact_comes_back_whole(database):
    whole = fact(
        n=7,
        interval=Interval(0.1, 0.9, 0.95, "wilson"),
        slice="long",
        source=Subject("data", TWO, "data"),
        inputs=(TWO,),
        produced_by=Producer("guideway/evaluate", "0.1", "k"),
        automatic=False,
        valid_until=5.0,
    )
    evidence.put(database, whole)
    assert evidence.about(database, [ONE]) == [whole] == evidence.all_of(database, limit=5)
    assert evidence.by_digest(database, whole.digest) == whole


def test_the_digest_is_that_of_the_fact():
    assert fact().digest == digest_of(fact().evidence)


def test_the_same_fact_is_kept_once_with_the_envelope_that_came_first(database):
    evidence.put(database, fact())
    evidence.put(database, msgspec.structs.replace(fact(), envelope="sha256:later", signer="bob"))
    assert evidence.about(database, [ONE]) == [fact()]


def test_facts_about_several_subjects_come_oldest_first(database):
    kept = [fact(subject=subject, at=at) for subject, at in ((ONE, 3.0), (TWO, 1.0), (ONE, 2.0), ("sha256:3", 0.0))]
    for one in kept:
        evidence.put(database, one)
    assert evidence.about(database, [TWO, ONE, ONE]) == [kept[1], kept[2], kept[0]]
    assert evidence.about(database, []) == []


def test_the_newest_facts_come_first_and_no_more_than_asked(database):
    for at in (1.0, 3.0, 2.0):
        evidence.put(database, fact(at=at))
    assert [one.evidence.at for one in evidence.all_of(database, limit=2)] == [3.0, 2.0]


def test_the_envelopes_of_facts_and_waivers_are_blobs_that_must_stay(database):
    evidence.put(database, fact())
    evidence.put(database, fact(at=2.0))
    waivers.put(database, waiver())
    assert evidence.digests(database) == {"sha256:e"}
    assert waivers.digests(database) == {"sha256:w"}


def test_a_waiver_comes_back_whole_and_is_kept_once(database):
    waivers.put(database, waiver())
    waivers.put(database, waiver(until=100.0))
    assert waivers.all_of(database, "m") == [waiver()]


@pytest.mark.parametrize(
    ("name", "environment", "expected"),
    [("m", None, ["sha256:2", "sha256:1"]), ("m", "prod", ["sha256:1"]), ("m", "dev", []), ("other", None, [])],
)
def test_waivers_are_found_by_model_and_environment_soonest_end_first(database, name, environment, expected):
    waivers.put(database, waiver("sha256:1", until=9.0))
    waivers.put(database, waiver("sha256:2", environment="staging", until=3.0))
    assert [one.envelope for one in waivers.all_of(database, name, environment)] == expected
