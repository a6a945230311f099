"""Admission: judged every time, signed once for the same proof, and asked for before anything loads."""

from __future__ import annotations

import msgspec
import pytest
from release_rig import FAILED, PASSED, UNKNOWN, House

from guideway.core.artifact import digest_of
from guideway.core.dossier import Approval
from guideway.core.errors import Corrupt, Refused
from guideway.core.evidence import Evidence, Subject
from guideway.sealing.admit import check_admission, check_not_older
from guideway.sealing.attest import approve
from guideway.sealing.dossier import approvals, heard
from guideway.sealing.pack import attachments
from guideway.signing import dsse, signers
from guideway.signing.keys import trusted
from guideway.store import evidence, ledger

POLICY, OTHER = "sha256:" + "1" * 64, "sha256:" + "2" * 64


@pytest.fixture
def house(tmp_path):
    return House(tmp_path)


def said(house, envelope):
    return dsse.unseal(house.blobs.read(envelope), house.trusted)["predicate"]


def test_a_release_is_judged_again_each_time_and_may_be_refused_later(house):
    release = house.seal(PASSED)
    house.admit(release, PASSED)
    with pytest.raises(Refused, match="m:1 into 'dev': admit refused: SPEC-1 FAIL"):
        house.admit(release, FAILED)


def test_the_summary_stands_until_the_policy_or_a_proof_changes(house):
    release = house.seal(PASSED)
    first = house.admit(release, PASSED, policy=POLICY)
    assert house.admit(release, PASSED, policy=POLICY, at=9.0) == first
    second = house.admit(release, PASSED, policy=OTHER)
    assert second != first and said(house, second)["policy"]["digest"] == {"sha256": "2" * 64}


def test_what_was_observed_is_signed_and_attached(house):
    release = house.seal(PASSED)
    seen = Evidence("missing_files", 0.0, "files", Subject("release", release.digest))
    house.admit(release, PASSED, observed=[seen])
    assert [one.digest for one in evidence.about(house.database, [release.digest])] == [digest_of(seen)]
    kinds = [one.kind for one in heard(attachments(house.blobs, release.digest, dsse.MEDIA_TYPE), house.trusted)]
    assert "urn:guideway:evidence:v1" in kinds


def test_only_what_was_admitted_may_load(house):
    release = house.seal(PASSED)
    with pytest.raises(Refused, match="never admitted into 'dev'") as caught:
        check_admission(house.blobs, release.digest, house.trusted, environment="dev")
    assert "guideway ship -e dev" in str(caught.value)
    house.admit(release, PASSED)
    check_admission(house.blobs, release.digest, house.trusted, environment="dev")
    with pytest.raises(Refused, match="never admitted into 'prod'"):
        check_admission(house.blobs, release.digest, house.trusted, environment="prod")


def test_an_admission_by_a_key_that_was_revoked_counts_no_more(house):
    release = house.seal(PASSED)
    house.admit(release, PASSED)
    signers.revoke(house.root / "keys", "guideway", at=3.0, reason="stolen")
    with pytest.raises(Refused, match="never admitted"):
        check_admission(house.blobs, release.digest, trusted(house.root / "keys"), environment="dev")


def test_a_release_that_a_stranger_sealed_is_not_admitted(house, tmp_path):
    release = house.seal(PASSED)
    house.trusted = {}
    with pytest.raises(Corrupt, match="no trusted key signed"):
        house.admit(release, PASSED)


def test_a_refusal_is_kept_with_every_reason_and_told_with_the_first(house):
    release = house.seal(PASSED)
    with pytest.raises(Refused) as caught:
        house.admit(release, FAILED, *[UNKNOWN] * 5)
    assert str(caught.value).count("DAT-03") == 2 and "and 3 more" in str(caught.value)
    (entry,) = ledger.entries(house.database, limit=1, newest_first=True)
    assert entry.what == "admit refused" and entry.why.count("DAT-03") == 5


@pytest.mark.catalogue("B40")
def test_an_older_release_comes_back_only_with_an_approval_that_says_so(house):
    old, new = house.seal(PASSED), house.add("two", PASSED)
    house.admit(old, PASSED, environment="prod")
    check_not_older(house.database, old, (), environment="prod")
    house.admit(new, PASSED, environment="prod")
    check_not_older(house.database, old, (), environment="staging")
    with pytest.raises(Refused, match="m:2 was admitted into 'prod' before, and this one is older") as caught:
        check_not_older(house.database, old, (), environment="prod")
    assert "guideway rollback -e prod --to 1" in str(caught.value)
    plain = Approval(old.digest, "prod", "alice", "key", "", 1.0, "sha256:envelope")
    for useless in (plain, Approval(old.digest, "staging", "alice", "key", "", 1.0, "sha256:envelope", older=True)):
        with pytest.raises(Refused):
            check_not_older(house.database, old, [useless], environment="prod")
    alice = signers.new(house.root / "keys", "alice")
    approve(house.blobs, house.database, alice, old, environment="prod", why="a fix", older=True, at=3.0)
    texts = attachments(house.blobs, old.digest, dsse.MEDIA_TYPE)
    check_not_older(
        house.database, old, approvals(heard(texts, trusted(house.root / "keys")), old.digest), environment="prod"
    )


def test_an_approval_that_brought_an_older_release_back_once_does_not_do_it_again(house):
    old, new = house.seal(PASSED), house.add("two", PASSED)
    house.admit(new, PASSED, environment="prod", at=2.0)
    allowed = [Approval(old.digest, "prod", "alice", "key", "", 3.0, "sha256:envelope", older=True)]
    check_not_older(house.database, old, allowed, environment="prod")
    newest = house.add("three", PASSED)
    house.admit(newest, PASSED, environment="prod", at=4.5)
    with pytest.raises(Refused, match="m:3 was admitted into 'prod' before, and this one is older") as caught:
        check_not_older(house.database, old, allowed, environment="prod")
    assert "rollback" not in str(caught.value)  # it was never there: there is no way back to it
    again = msgspec.structs.replace(allowed[0], at=4.0)  # dated in whole seconds: it may be from after 4.5
    check_not_older(house.database, old, [again], environment="prod")


def test_the_ledger_says_by_which_column_a_release_was_admitted(house):
    house.admit(house.seal(PASSED), PASSED, environment="prod", level="dev", policy=POLICY)
    (entry,) = ledger.entries(house.database, what="admit")
    assert (entry.why, entry.data["level"], entry.data["policy"]) == ("prod", "dev", POLICY)
