"""What somebody tries who may write the state, and whose key may even be trusted: the judgement stays true."""

from __future__ import annotations

import msgspec
import pytest
from gate_rig import NOW, Desk, fact, step
from sqlalchemy import update

from guideway.core.artifact import digest_of
from guideway.core.dossier import environment_subject
from guideway.core.errors import Refused, SpecError
from guideway.core.evidence import Interval
from guideway.core.gate import Verdict
from guideway.pipeline.admission import admitted
from guideway.pipeline.assess import ADMITTING, assess, gather
from guideway.sealing.admit import admit
from guideway.sealing.attest import approve, iso
from guideway.sealing.pack import attachments
from guideway.signing import dsse, signers, statements
from guideway.signing.keys import person
from guideway.store import releases, tables


@pytest.fixture
def desk(tmp_path, monkeypatch):
    monkeypatch.delenv("GUIDEWAY_HOME", raising=False)
    monkeypatch.delenv("GUIDEWAY_SIGNER", raising=False)
    return Desk(tmp_path)


def let_in(desk, release, environment):
    """Admit as the pipeline does, whatever else is not proven: observed facts are signed and attached."""
    found = assess(desk.shop, desk.spec(environment), release, at=NOW, when=ADMITTING)
    seen = [one.evidence for one in found.dossier.proofs if not one.envelope]
    shop = desk.shop
    admit(
        shop.blobs,
        shop.database,
        shop.signer,
        shop.trusted,
        release,
        environment=environment,
        judgements=(),
        observed=seen,
        policy=found.policy,
        at=NOW,
    )


def test_an_approval_for_staging_does_not_count_for_prod_although_what_was_seen_there_is_attached(desk):
    release, alice = desk.release("one"), desk.person("alice")
    let_in(desk, release, "dev")
    desk.approve(release, alice, "staging")
    let_in(desk, release, "staging")
    assert desk.judged(release, "REL-04", "staging").verdict is Verdict.PASS
    assert desk.judged(release, "REL-04", "prod").verdict is Verdict.FAIL


def test_a_row_that_lists_the_files_of_another_release_lends_it_no_proof(desk):
    good = desk.release("good", train="good model")
    bad = desk.release("bad", train="bad model")
    for text in attachments(desk.shop.blobs, good.digest, dsse.MEDIA_TYPE):
        desk.attach(bad, text)
    row = msgspec.structs.replace(bad, files=good.files, name="nights")
    body = msgspec.json.encode(row).decode()
    desk.shop.database.execute(update(tables.releases).where(tables.releases.c.digest == bad.digest).values(body=body))
    forged = releases.by_digest(desk.shop.database, bad.digest)
    dossier = gather(desk.shop, desk.spec(), forged)
    assert dossier.subjects["train"] == digest_of("bad model")
    assert (dossier.release.files, dossier.release.name, dossier.name) == (bad.files, "days", "days")


def test_a_fact_about_a_model_counts_only_where_it_is_attached_even_if_it_was_brought_with_one_about_the_data(desk):
    model = digest_of("train")
    first, second = desk.release("one prompt"), desk.release("another prompt")
    desk.attest(
        fact("personal_data_residue", 0.0, "data", digest_of("data")),
        fact("refusal_share", 1.0, "train", model, n=300),
        release=first,
    )

    def metrics(release):
        return {one.evidence.metric for one in gather(desk.shop, desk.spec(), release).proofs}

    assert {"personal_data_residue", "refusal_share"} <= metrics(first)
    assert "personal_data_residue" in metrics(second) and "refusal_share" not in metrics(second)


@pytest.mark.parametrize("broken", [float("nan"), float("inf"), float("-inf")])
def test_a_figure_that_is_no_number_fails_and_does_not_vanish_behind_another_slice(desk, broken):
    model = digest_of("train")
    release = desk.release("one")
    desk.attest(fact("slices_below_floor", 0.0, "train", model, slice="easy"), release=release)
    desk.attest(fact("slices_below_floor", broken, "train", model, slice="hard"), release=release)
    assert desk.judged(release, "EVL-02").verdict is Verdict.FAIL


def test_a_figure_with_an_interval_without_end_does_not_vanish_either(desk):
    model = digest_of("train")
    release = desk.release("one")
    around = Interval(0.0, float("inf"), 0.95, "normal")
    desk.attest(fact("slices_below_floor", 3.0, "train", model, slice="hard", interval=around), release=release)
    desk.attest(fact("slices_below_floor", 0.0, "train", model, slice="easy"), release=release)
    assert desk.judged(release, "EVL-02").verdict is Verdict.FAIL


def test_who_sealed_a_release_cannot_approve_it_with_the_next_key_of_the_same_name(desk):
    anna = desk.person("anna")
    release = desk.release("one", by=anna)
    again = signers.rotate(desk.shop.home.keys, "anna")
    desk.trust_again()
    desk.approve(release, again, "prod")
    assert desk.judged(release, "REL-04").verdict is Verdict.FAIL
    desk.approve(release, desk.person("bob"), "prod")
    assert desk.judged(release, "REL-04").verdict is Verdict.PASS


@pytest.mark.parametrize(("days", "counts"), [(364, True), (366, False)])
def test_a_waiver_for_more_than_a_year_counts_for_nothing_whoever_signed_it(desk, days, counts):
    release, alice = desk.release("one"), desk.person("alice")
    said = statements.waiver(
        name="days",
        subject=environment_subject("days", "prod"),
        clauses=["REL-04"],
        environment="prod",
        reason="for ever",
        since=iso(NOW),
        until=iso(NOW + days * 86400),
    )
    desk.attach(release, dsse.seal(said, alice))
    assert bool(desk.judged(release, "REL-04").waived) == counts


def test_the_author_does_not_bring_an_older_release_back(desk):
    old, new = desk.release("one"), desk.release("two")
    let_in(desk, new, "prod")
    shop, own = desk.shop, desk.shop.signer
    approve(shop.blobs, shop.database, own, old, environment="prod", why="", older=True, at=NOW)
    with pytest.raises(Refused, match="this one is older"):
        admitted(shop, desk.spec(), old, lambda event: None)


def test_nobody_answers_with_the_key_of_the_installation(desk):
    with pytest.raises(SpecError, match="the key of this installation and answers for nobody"):
        person(desk.shop.home.keys, "guideway")


def test_provenance_in_words_of_another_tool_is_passed_over(desk):
    release = desk.release("one")
    foreign = step("package", digest_of("x"), {}, ())
    foreign["predicate"]["buildDefinition"]["resolvedDependencies"] = [
        {"uri": "git+https://x", "digest": {"gitCommit": "0"}}
    ]
    nameless = {**step("data", digest_of("y"), {}, ()), "subject": [{"digest": {"sha256": "0" * 64}}]}
    for one in (foreign, nameless, {**foreign, "predicate": []}, {**foreign, "subject": []}, {**foreign, "subject": 3}):
        desk.attach(release, dsse.seal(one, desk.shop.signer))
    assert gather(desk.shop, desk.spec(), release).subjects["train"] == digest_of("train")
