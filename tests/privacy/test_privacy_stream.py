"""Texts in pieces: cut at any place, values come back and personal data stays out."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guideway.core.privacy import DEFAULT
from guideway.privacy.conceal import LIMIT, Conceal, is_calm
from guideway.privacy.detect import PATTERN_ENTITIES, find
from guideway.privacy.mask import Vault
from guideway.privacy.quotes import Quotes
from guideway.privacy.stream import Chain, Restore, TextStream

SAID = [
    "Write to jo.doe@example.com today, or call +49 151 23456789 now.",
    "电话13812345678，身份证11010519491231002X，谢谢。",
    "Pay with 4111 1111 1111 1111 or DE89 3704 0044 0532 0130 00 please",
    "psql postgres://admin:s3cr3t@db.example.com:5432/x works; SSN 536-22-8145",
    "password: hunter2!!x and key sk-proj-abcdefghijklmnop1234567890",
    "am8uZG9lQGV4YW1wbGUuY29tIGlzIGhlcmU= here, \uff11\uff13\uff18\uff11\uff12\uff13\uff14\uff15\uff16\uff17\uff18!",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\nabcd==\n-----END RSA PRIVATE KEY-----\nbye",
    "call me at (212) 555-0187",
]


def through(stream: TextStream, pieces: Sequence[str]) -> str:
    return "".join([stream.feed(piece) for piece in pieces] + [stream.end()])


def conceal() -> Conceal:
    return Conceal(PATTERN_ENTITIES)


@pytest.mark.catalogue("B32")
@pytest.mark.parametrize("text", SAID)
def test_personal_data_that_the_model_says_is_concealed_wherever_it_is_cut(text: str) -> None:
    values = [text[one.start : one.end] for one in find(text)]
    whole = through(conceal(), [text])
    assert values
    assert not any(value in whole for value in values)
    for cut in range(1, len(text)):
        assert through(conceal(), [text[:cut], text[cut:]]) == whole, cut
    for size in (1, 2, 3, 5):
        assert through(conceal(), [text[at : at + size] for at in range(0, len(text), size)]) == whole, size


@pytest.mark.catalogue("B32")
def test_no_piece_of_a_value_is_out_before_it_is_known_to_be_none() -> None:
    for text in SAID:
        first = find(text)[0].start
        stream, out = conceal(), ""
        for one in text:
            out += stream.feed(one)
            assert out[:first] == text[:first][: len(out)]
            assert not out[first:] or out[first] == "["


def test_prose_flows_word_by_word() -> None:
    text = "It was the best of times, it was the worst of times; 那是最好的时代。" * 20
    stream, out = conceal(), 0
    for place, one in enumerate(text):
        out += len(stream.feed(one))
        assert place - out < 12
    assert out + len(stream.end()) == len(text)


@pytest.mark.parametrize(
    "text", ["a" * 5000, "1" * 5000, "1 " * 3000, "a.b-" * 2000, "-----BEGIN " * 500, "AB12 " * 900]
)
def test_no_more_is_held_back_than_the_limit(text: str) -> None:
    stream, out = conceal(), 0
    for at in range(0, len(text), 7):
        out += len(stream.feed(text[at : at + 7]))
        assert at + 7 - out <= LIMIT + 7 or stream._dropping
    stream.end()


def test_a_secret_longer_than_the_limit_does_not_come_out_in_part() -> None:
    body = "\n".join("MIIEpAIBAAKCAQEAabcdefghijklmnop0123456789" for _ in range(60))
    text = f"key:\n-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\nthat was it"
    for size in (1, 7, 100, len(text)):
        out = through(conceal(), [text[at : at + size] for at in range(0, len(text), size)])
        assert "MIIE" not in out, size
        assert out.startswith("key:\n[SECRET]")
        assert out.endswith("that was it")


@pytest.mark.parametrize("number", ["13812345678", "4111111111111111"])
def test_a_number_of_json_that_is_concealed_leaves_json(number: str) -> None:
    text = json.dumps({"a\\": 'say "hi", 1', "phone": int(number), "b": [int(number), f"x, {number} \\"]})
    for size in (1, 2, 3, 1000):
        out = through(
            Conceal(PATTERN_ENTITIES, is_json=True), [text[at : at + size] for at in range(0, len(text), size)]
        )
        assert number not in out
        assert json.loads(out)["a\\"] == 'say "hi", 1'


@given(st.text(alphabet='ab"\\ ', max_size=12), st.integers(1, 4))
def test_quotes_are_counted_wherever_the_text_is_cut(text: str, size: int) -> None:
    whole, cut = Quotes(), Quotes()
    whole.read(text)
    for at in range(0, len(text), size):
        cut.read(text[at : at + size])
    assert (cut.inside, cut._escaped) == (whole.inside, whole._escaped)


ANSWER = "Dear [EMAIL_1], [PHONE_1]! [EMAIL_9] [EMAIL_1 ] [[EMAIL_1]] [x] [EMAIL_12345678] [LITERAL_1] a[0] [EMAIL_1"


def vault() -> Vault:
    made = Vault(DEFAULT)
    made.mask("jo@example.com 13812345678 [EMAIL_7]")
    return made


@pytest.mark.catalogue("B32")
@pytest.mark.parametrize("make", [Restore, lambda one: Chain([conceal(), Restore(one)])])
def test_values_come_back_wherever_a_placeholder_is_cut(make: Callable[[Vault], TextStream]) -> None:
    one = vault()
    whole = one.restore(ANSWER)
    assert whole.startswith("Dear jo@example.com, 13812345678! [EMAIL_9]")
    for cut in range(len(ANSWER) + 1):
        assert through(make(one), [ANSWER[:cut], ANSWER[cut:]]) == whole
    assert through(make(one), list(ANSWER)) == whole


@given(st.lists(st.sampled_from(["[", "EMAIL", "_", "1", "]", "[EMAIL_1]", "x", "[PHONE_1", "LITERAL"]), max_size=20))
def test_pieces_of_placeholders_come_out_as_one_text_would(pieces: list[str]) -> None:
    one = vault()
    assert through(Restore(one), pieces) == one.restore("".join(pieces))


@given(
    st.lists(
        st.sampled_from([*SAID, " ", "x", "13", "812345678", "@", "jo", "example.com", "4111 ", "[", "。"]), max_size=8
    )
)
def test_what_is_concealed_does_not_depend_on_the_pieces(pieces: list[str]) -> None:
    text = "".join(pieces)
    assert through(conceal(), pieces) == through(conceal(), [text])


class Close(Conceal):
    """One that looks closely at every text."""

    __slots__ = ()

    def _words(self, text: str) -> str | None:
        return None


PIECES = st.sampled_from(
    ["word", " ", "more ", ". ", ".", "\n", ", ", "(", ") ", "- ", "-", "--", ": ", ":", "*", "# ", "al@ex",
     "ample.com", "139", "1234 5678", "pass", "word is hunterxyz", "key abcdefgh", "dead", ".beef", ".cafe", " AK",
     "NOPQabcdefgh", "IAABCDEFGHIJKLM", "ijklmnop ", "'", '"', "!", "?", "x ", "http", ":/", "/u:p@h.io", "`", "to",
     "ken abcdefg", "é", "-----BEGIN PRIVATE KEY-----", "eyJhbGciOiJI", "a b c ", "+1 ", "(", "5)", "GB29 ", "nwbk",
     " x", "电话", "a" * 90]
)  # fmt: skip


@settings(max_examples=1000, deadline=None)
@given(st.lists(PIECES, max_size=30))
def test_words_that_pass_the_quick_way_come_out_as_from_a_close_look(pieces: list[str]) -> None:
    quick, close = conceal(), Close(PATTERN_ENTITIES)
    assert [*map(quick.feed, pieces), quick.end()] == [*map(close.feed, pieces), close.end()]


@given(st.lists(PIECES, max_size=12).map("".join))
def test_nothing_is_found_in_a_calm_text(text: str) -> None:
    assert not is_calm(text) or find(text) == []


def test_plain_words_are_not_looked_at_closely(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = conceal()
    monkeypatch.setattr("guideway.privacy.conceal.find", lambda *_: pytest.fail("a close look"))
    text = "It was late: nobody came, and *nothing* was said (or written). "
    said = "".join(stream.feed(text[at : at + 5]) for at in range(0, len(text), 5))
    assert text == said + "written). "
