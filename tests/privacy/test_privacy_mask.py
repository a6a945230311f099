"""Placeholders: one for each value, none that can be forged, and the way back."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guideway.core.privacy import DEFAULT
from guideway.privacy.detect import find
from guideway.privacy.fold import unescape
from guideway.privacy.mask import PLACEHOLDER, Blocked, Vault

WANTED = {entity for entity, action in DEFAULT.items() if action != "allow"}
PIECES = st.sampled_from(
    [
        "jo@example.com", "13812345678", "4111 1111 1111 1111", "[EMAIL_1]", "[LITERAL_1]", "[EMAIL_", "1]", " ", "，",
        "word", "[", "]", "\n", "536-22-8145", "\\u0040", '"', "号",
    ]
)  # fmt: skip


def test_a_value_has_one_placeholder_in_the_whole_request() -> None:
    vault = Vault(DEFAULT)
    assert vault.mask("jo@example.com and al@example.com") == "[EMAIL_1] and [EMAIL_2]"
    assert vault.mask("again al@example.com") == "again [EMAIL_2]"
    assert vault.kinds == {"email"}


def test_what_is_allowed_stays() -> None:
    assert Vault(DEFAULT).mask("from 192.168.17.4") == "from 192.168.17.4"


def test_what_is_blocked_raises_and_tells_only_the_kind() -> None:
    with pytest.raises(Blocked) as caught:
        Vault({**DEFAULT, "card": "block"}).mask("jo@example.com 4111 1111 1111 1111")
    assert caught.value.kinds == {"card"}
    assert "4111" not in str(caught.value)


def test_a_placeholder_that_somebody_typed_is_never_that_of_another_value() -> None:
    vault = Vault(DEFAULT)
    masked = vault.mask("my [EMAIL_1] is jo@example.com")
    assert masked == "my [LITERAL_1] is [EMAIL_1]"
    assert vault.restore(masked) == "my [EMAIL_1] is jo@example.com"
    assert vault.restore("[EMAIL_2] [LITERAL_9]") == "[EMAIL_2] [LITERAL_9]"


def test_a_value_that_goes_into_json_is_escaped() -> None:
    vault = Vault(DEFAULT, finder=lambda text, kinds: [])
    vault._placeholder("secret", 'a"b\\c\n')
    assert json.loads(f'"{vault.restore("[SECRET_1]", escape=True)}"') == 'a"b\\c\n'


@pytest.mark.catalogue("B34")
def test_two_requests_know_nothing_of_each_other() -> None:
    one, other = Vault(DEFAULT), Vault(DEFAULT)
    masked = one.mask("jo@example.com")
    other.mask("al@example.com")
    assert other.restore(masked) == "al@example.com"
    assert Vault(DEFAULT).restore(masked) == masked


@given(st.lists(PIECES, max_size=12).map("".join))
def test_what_was_masked_comes_back_as_it_was(text: str) -> None:
    vault = Vault(DEFAULT)
    masked = vault.mask(text)
    assert vault.restore(masked).replace("\\u0040", "@") == text.replace("\\u0040", "@")
    assert all(name in vault.values for name in PLACEHOLDER.findall(masked))


@pytest.mark.parametrize(
    ("parts", "masked"),
    [
        (["mail bob@exam", "ple.com now"], ["mail [EMAIL_1]", " now"]),
        (["b", "ob@exam", "", "ple.com", " al@example.com"], ["[EMAIL_1]", "", "", "", " [EMAIL_2]"]),
        (["my ssn is ", "536228145"], ["my ssn is ", "[US_SSN_1]"]),
        (["jo@example.com", "munity"], ["[EMAIL_1]", ""]),
        (["12", "4111 1111 1111 1111"], ["12", "[CARD_1]"]),
        (["it is [EMA", "IL_1]", "!"], ["it is [LITERAL_1]", "", "!"]),
        (["one", "two"], ["one", "two"]),
        ([], []),
    ],
)
def test_what_begins_in_one_part_and_ends_in_another_is_masked_where_it_begins(
    parts: list[str], masked: list[str]
) -> None:
    assert Vault(DEFAULT).mask_parts(parts) == masked


@given(st.lists(st.lists(PIECES, max_size=4).map("".join), max_size=5))
def test_parts_come_back_as_they_were_and_leave_nothing_of_what_is_found_in_all_together(parts: list[str]) -> None:
    vault = Vault(DEFAULT)
    masked = vault.mask_parts(parts)
    assert len(masked) == len(parts)
    assert vault.restore("".join(masked)).replace("\\u0040", "@") == "".join(parts).replace("\\u0040", "@")
    whole = "".join(parts)
    for one in find(whole, WANTED):
        assert any(unescape(whole[one.start : one.end]) in value for value in vault.values.values())


def test_what_is_blocked_in_all_parts_together_raises() -> None:
    with pytest.raises(Blocked):
        Vault({**DEFAULT, "card": "block"}).mask_parts(["4111 1111 ", "1111 1111"])
