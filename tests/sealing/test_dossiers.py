"""Dossiers: the chain from a release back to its data, and only what a trusted key said about exactly that."""

from __future__ import annotations

import pytest
from release_rig import PASSED, House

from guideway.core.artifact import digest_of
from guideway.core.dossier import environment_subject
from guideway.core.errors import SpecError
from guideway.core.evidence import Evidence, Subject
from guideway.sealing import dossier as papers
from guideway.sealing.attest import approve, attest, waive
from guideway.sealing.dossier import chain, heard, steps_of
from guideway.sealing.pack import attachments
from guideway.signing import dsse, signers, statements
from guideway.signing.keys import signer, trusted
from guideway.store import evidence, ledger, waivers

DATA, MODEL, SMALL, PACKAGE, REPORT = (f"sha256:{digit * 64}" for digit in "12345")
DAY = 86400.0


@pytest.fixture
def house(tmp_path):
    return House(tmp_path)


def step(one, name, output, *, facts=(), parameters=None, **inputs):
    """The signed provenance of one step."""
    said = statements.provenance(
        name=name,
        output=output,
        parameters=parameters or {},
        inputs=inputs,
        builder="urn:test",
        run="1",
        evidence=[{"metric": metric, "value": 1.0, "unit": "", "subject": {"kind": "artifact", "digest": output}}
                  for metric in facts],
    )  # fmt: skip
    return dsse.seal(said, one)


def way(one):
    """A whole build: data, train, compress, evaluate beside it, package."""
    return [
        step(one, "data", DATA, facts=["rows"]),
        step(one, "train", MODEL, data=DATA),
        step(one, "compress", SMALL, data=DATA, train=MODEL),
        step(one, "evaluate", REPORT, data=DATA, train=MODEL, compress=SMALL),
        step(one, "package", PACKAGE, parameters={"model": "compress"}, data=DATA, train=MODEL, compress=SMALL),
    ]


def test_the_chain_leads_from_the_package_to_every_step(house):
    said = heard(way(house.signer), house.trusted)
    found, unexplained = chain(said, PACKAGE)
    assert found == {"data": DATA, "train": MODEL, "compress": SMALL, "evaluate": REPORT, "package": PACKAGE}
    assert unexplained == 0
    assert papers.ships(found, steps_of(said, found)) == "compress"


def test_inputs_without_provenance_are_counted(house):
    for missing in (0, 1, 2):
        texts = way(house.signer)
        del texts[missing]
        assert chain(heard(texts, house.trusted), PACKAGE)[1] == 1
    assert chain((), PACKAGE) == ({"package": PACKAGE}, 1)


def test_a_step_of_another_build_is_no_part_of_the_chain(house):
    other = step(house.signer, "scan", "sha256:" + "9" * 64, package="sha256:" + "8" * 64)
    assert "scan" not in chain(heard([*way(house.signer), other], house.trusted), PACKAGE)[0]


@pytest.mark.catalogue("B38")
def test_what_a_stranger_signed_explains_nothing(house, tmp_path):
    stranger = signer(tmp_path / "strange")
    assert heard(way(stranger), house.trusted) == ()


@pytest.mark.catalogue("B41")
def test_a_release_is_tied_to_its_package_by_its_own_files(house):
    release = house.seal(PASSED)
    assert papers.package_of(release.files) == papers.package_of(list(reversed(release.files)))
    assert papers.package_of(release.files[:-1]) != papers.package_of(release.files)


def test_evidence_comes_out_of_provenance_and_of_statements_once(house):
    fact = Evidence("score", 0.5, "", Subject("artifact", MODEL))
    texts = [*way(house.signer), house.blobs.read(attest(house.blobs, house.database, house.signer, [fact], at=1.0))]
    found = papers.proofs(heard([*texts, texts[-1]], house.trusted))
    assert [one.evidence.metric for one in found] == ["rows", "score"]
    assert {one.signer for one in found} == {"guideway"}
    assert found[1].digest == digest_of(fact)


def test_evidence_is_kept_attached_and_in_the_ledger(house):
    release = house.seal(PASSED)
    fact = Evidence("score", 0.5, "", Subject("release", release.digest), automatic=False)
    envelope = attest(house.blobs, house.database, house.signer, [fact], release=release, why="by hand", at=4.0)
    assert house.blobs.read(envelope) in attachments(house.blobs, release.digest, dsse.MEDIA_TYPE)
    assert evidence.about(house.database, [release.digest])[0].envelope == envelope
    (entry,) = ledger.entries(house.database, limit=1, newest_first=True)
    assert (entry.what, entry.subject, entry.why) == ("evidence", release.digest, "by hand")


def test_an_approval_travels_with_the_release_and_names_who_gave_it(house):
    release = house.seal(PASSED)
    alice = signers.new(house.root / "keys", "alice")
    approve(house.blobs, house.database, alice, release, environment="prod", why="read it", older=False, at=5.0)
    said = heard(attachments(house.blobs, release.digest, dsse.MEDIA_TYPE), trusted(house.root / "keys"))
    (one,) = papers.approvals(said, release.digest)
    assert (one.by, one.environment, one.why, one.older, one.at) == ("alice", "prod", "read it", False, 5.0)
    assert papers.authors(said, release.digest) == (house.signer.id,)
    assert papers.approvals(said, "sha256:" + "0" * 64) == ()


def given(house, **more):
    values = {
        "name": "m",
        "environment": "prod",
        "clauses": ["DAT-04"],
        "reason": "next month",
        "since": 1 * DAY,
        "until": 9 * DAY,
    }
    return waive(house.blobs, house.database, house.signer, **{**values, **more})


def test_a_waiver_is_signed_kept_and_read_back_the_same(house):
    made = given(house)
    said = heard([house.blobs.read(made.envelope)], house.trusted)
    assert papers.waivers(said) == (made,) and waivers.all_of(house.database, "m", "prod") == [made]
    assert environment_subject("m", "prod") in said[0].subjects


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"reason": "  "}, "needs a reason"),
        ({"until": 1 * DAY}, "within a year"),
        ({"until": 400 * DAY}, "within a year"),
    ],
)
def test_a_waiver_without_reason_or_end_is_refused_and_leaves_nothing(house, more, told):
    with pytest.raises(SpecError, match=told):
        given(house, **more)
    assert waivers.all_of(house.database, "m") == [] and list(ledger.entries(house.database)) == []


def test_a_statement_that_is_not_whole_counts_for_nothing(house):
    broken = statements.statement(statements.WAIVER, {"m": MODEL}, {"clauses": ["DAT-04"]})
    odd = statements.statement(statements.EVIDENCE, {"m": MODEL}, {"evidence": [{"metric": 1}]})
    said = heard([dsse.seal(broken, house.signer), dsse.seal(odd, house.signer), b"{}", b""], house.trusted)
    assert papers.waivers(said) == () and papers.proofs(said) == ()
