"""Feedback on the data port: the id proves whose request it was, and nothing is acknowledged before the disk has it."""

from __future__ import annotations

import json
import threading

import msgspec
import pytest
from gateway_rig import STABLE, wait_for
from hypothesis import given
from hypothesis import strategies as st

from guideway.core.feedback import Judgement
from guideway.core.route import ApiKey
from guideway.core.spec.gateway import Gateway, Masking
from guideway.core.terms import Terms
from guideway.gateway.errors import ApiError
from guideway.gateway.feedback import (
    BODY_BYTES,
    COMMENT_BYTES,
    CORRECTION_BYTES,
    DAYS,
    LABEL_BYTES,
    NO_REQUEST,
    PENDING,
    Claim,
    Feedback,
    RequestIds,
    mark,
    read,
    secret_of,
)
from guideway.gateway.prepare import masking_of
from guideway.store.feedback_spool import Spool, records

SECRET = secret_of(bytes(32), "dev")
TODAY = 20_000
NOW = TODAY * 86_400 + 5.0
KEY = ApiKey(id="k1", digest="", tenant="acme")
IDS = RequestIds(SECRET)


def request_id(owner="acme", day=TODAY, random=b"12345678") -> str:
    return IDS.make(random, mark(day, STABLE, "stable"), owner).decode()


def body(**said) -> bytes:
    return json.dumps({"request_id": request_id(), **said}).encode()


# The id.


@given(st.binary(min_size=8, max_size=8), st.integers(0, 65535), st.text(max_size=20), st.sampled_from(["", "stable"]))
def test_an_id_tells_day_release_and_arm_to_who_knows_its_tenant(random, day, owner, arm):
    id = IDS.make(random, mark(day, STABLE, arm), owner).decode()
    assert len(id) == 48
    assert set(id) <= set("0123456789abcdef")
    assert IDS.check(id, owner) == IDS.check(id.upper(), owner) == Claim(day, "5555555555", arm)
    assert IDS.check(id, owner + "x") is None


def test_no_digit_of_an_id_can_be_changed():
    id = request_id()
    for place in range(48):
        other = "0" if id[place] != "0" else "1"
        assert IDS.check(id[:place] + other + id[place + 1 :], "acme") is None


@pytest.mark.parametrize("id", ["", "0" * 48, "0" * 46, "g" * 48, "诗" * 48, request_id()[:46], request_id() + "00"])
def test_what_is_no_id_is_none(id):
    assert IDS.check(id, "acme") is None


def test_an_id_of_another_installation_or_environment_is_none():
    for other in (secret_of(bytes(31) + b"1", "dev"), secret_of(bytes(32), "prod")):
        assert RequestIds(other).check(request_id(), "acme") is None


def test_a_request_that_reached_no_release_has_an_id_too():
    id = IDS.make(bytes(8), mark(TODAY, "", ""), "acme").decode()
    assert IDS.check(id, "acme") == Claim(TODAY, "", "")


# The body.


def test_what_can_be_said():
    said = read(body(thumb="down", label="wrong", correction="42", comment="off by one"))
    assert msgspec.structs.asdict(said) == {
        "request_id": request_id(),
        "thumb": "down",
        "label": "wrong",
        "correction": "42",
        "comment": "off by one",
    }


@pytest.mark.parametrize(
    ("data", "status", "param"),
    [
        (b"", 400, None),
        (b"{", 400, None),
        (b"[]", 400, None),
        (b"\xff", 400, None),
        (b"[" * (BODY_BYTES - 1), 400, None),
        (b'{"request_id":' * 4000, 400, None),
        (b'{"request_id":"a","comment":"\\ud800"}', 400, None),
        (b'{"request_id":"a","comment":"\xff"}', 400, None),
        (b" " * BODY_BYTES + b"{}", 413, None),
        (body(), 400, None),
        (body(thumb="sideways"), 400, None),
        (body(thumb="up", tenant="other"), 400, None),
        (json.dumps({"thumb": "up"}).encode(), 400, None),
        (body(label="x" * (LABEL_BYTES + 1)), 400, "label"),
        (body(comment="x" * (COMMENT_BYTES + 1)), 400, "comment"),
        (body(correction="诗" * (CORRECTION_BYTES // 3 + 1)), 400, "correction"),
        (body(comment="a\0b"), 400, "comment"),
    ],
)
def test_a_body_that_cannot_be_meant_is_refused(data, status, param):
    refused = read(data)
    assert isinstance(refused, ApiError)
    assert (refused.status, refused.param) == (status, param)


def test_a_correction_as_long_as_the_limit_is_taken():
    assert not isinstance(read(body(correction="x" * CORRECTION_BYTES)), ApiError)


# The whole way to the disk.


class Desk:
    """Feedback on a loop, with what it answered."""

    def __init__(self, loop, folder):
        self.loop, self.folder = loop, folder
        self.spool = Spool(folder, "worker")
        self.feedback = Feedback(IDS, self.spool, "dev")
        self.answers: list[ApiError | None] = []

    def say(self, data, key=KEY, now=NOW):
        """Send one, and wait for its answer."""
        before = len(self.answers)
        self.loop.call(self.feedback.receive, key, data, now, self.answers.append)
        wait_for(lambda: len(self.answers) > before)
        return self.answers[-1]

    def kept(self):
        path = self.folder / "worker.spool"
        payloads = records(path.read_bytes())[0] if path.exists() else []
        return [msgspec.msgpack.decode(payload, type=Judgement) for payload in payloads]


@pytest.fixture
def desk(loop, tmp_path):
    made = Desk(loop, tmp_path)
    yield made
    made.feedback.close()


def test_a_judgement_is_on_the_disk_when_it_is_acknowledged(desk):
    assert desk.say(body(thumb="up", comment="nice")) is None
    assert desk.kept() == [
        Judgement(request_id(), "k1", "acme", "dev", "5555555555", "stable", NOW, thumb="up", comment="nice")
    ]


def test_only_the_tenant_that_made_a_request_may_judge_it(desk):
    stranger = ApiKey(id="k2", digest="", tenant="rival")
    colleague = ApiKey(id="k3", digest="", tenant="acme")
    assert desk.say(body(thumb="down"), stranger) is NO_REQUEST
    assert desk.say(body(thumb="down"), ApiKey(id="k1", digest="")) is NO_REQUEST
    assert desk.say(body(thumb="down"), colleague) is None
    assert [one.key for one in desk.kept()] == ["k3"]
    assert NO_REQUEST.status == 404


def test_an_id_that_is_guessed_and_one_of_somebody_else_are_answered_alike(desk):
    guessed = json.dumps({"request_id": "0" * 48, "thumb": "up"}).encode()
    assert desk.say(guessed) is desk.say(body(thumb="up"), ApiKey(id="k2", digest="")) is NO_REQUEST


MAIL = "zhang.wei@example.com"


@pytest.fixture
def masked(desk):
    """A desk whose environment masks addresses of mail, and blocks numbers of cards."""
    options = Gateway(masking=Masking(entities={"email": "mask", "card": "block"}))
    desk.feedback._mask = masking_of(options, Terms()).texts
    return desk


def test_what_is_said_is_kept_without_personal_data(masked):
    said = {"label": f"by {MAIL}", "correction": f"ask {MAIL}, not a@example.org", "comment": f"{MAIL} was right"}
    assert masked.say(body(thumb="up", **said)) is None
    (kept,) = masked.kept()
    assert (kept.label, kept.comment) == ("by [EMAIL_1]", "[EMAIL_1] was right")
    assert kept.correction == "ask [EMAIL_1], not [EMAIL_2]"
    assert MAIL.encode() not in (masked.folder / "worker.spool").read_bytes()


def test_a_judgement_with_data_that_must_not_be_kept_is_refused(masked):
    refused = masked.say(body(comment="my card is 4111 1111 1111 1111"))
    assert (refused.status, refused.code) == (400, "personal_data")
    assert masked.kept() == []
    assert masked.say(body(thumb="up")) is None


def test_where_something_cannot_be_masked_nothing_is_kept(desk):
    desk.feedback._mask = masking_of(Gateway(masking=Masking(entities={"name": "mask"})), Terms()).texts
    assert desk.say(body(comment="nice")).status == 503
    assert desk.kept() == []


@pytest.mark.parametrize(("days", "taken"), [(-2, False), (-1, True), (0, True), (DAYS, True), (DAYS + 1, False)])
def test_a_request_can_be_judged_for_ninety_days_and_clocks_may_differ_by_one(desk, days, taken):
    assert (desk.say(body(thumb="up"), now=NOW + days * 86_400) is None) is taken


def test_the_days_go_on_when_their_sixteen_bits_begin_anew(desk):
    data = json.dumps({"request_id": request_id(day=65_530), "thumb": "up"}).encode()
    assert desk.say(data, now=(65_530 + 10) * 86_400.0) is None


def test_a_disk_that_is_full_is_503_and_counted_and_later_ones_are_kept(desk, monkeypatch):
    def full(payload):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(desk.spool, "append", full)
        refused = desk.say(body(thumb="up"))
    assert (refused.status, refused.lines) == (503, b"Retry-After: 5\r\n")
    assert b"space" not in refused.body()
    assert desk.feedback.dropped == 1
    assert desk.say(body(thumb="up")) is None


def test_a_disk_that_stands_still_does_not_hold_the_loop_and_what_waits_is_bounded(desk, monkeypatch):
    go = threading.Event()
    monkeypatch.setattr(desk.spool, "append", lambda payload: go.wait(20))
    for _ in range(PENDING + 5):
        desk.loop.call(desk.feedback.receive, KEY, body(thumb="up"), NOW, desk.answers.append)
    assert [one.status for one in desk.answers] == [503] * 5
    go.set()
    wait_for(lambda: len(desk.answers) == PENDING + 5)
    assert desk.answers[5:] == [None] * PENDING


@pytest.mark.catalogue("B31")
def test_nothing_that_was_said_is_in_the_log(desk, capsys, monkeypatch):
    def full(payload):
        raise OSError(28, "No space left on device")

    desk.say(body(correction="my card is 4111111111111111"))
    monkeypatch.setattr(desk.spool, "append", full)
    desk.say(body(correction="my card is 4111111111111111"))
    said = capsys.readouterr().err
    assert "feedback refused" in said
    assert "4111" not in said
