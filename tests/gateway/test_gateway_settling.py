"""What requests are said to have cost, and to whom."""

from __future__ import annotations

import msgspec
import pytest
from limits_rig import key

from guideway.gateway.limits.amounts import Amounts, Used
from guideway.gateway.limits.key_lease import Reservation
from guideway.gateway.record import Record
from guideway.gateway.settling import settled
from guideway.gateway.usage import Usage

SENT = Record(b"/v1/completions", begun=1.0, sent=1.1, key=None, model="m", body_bytes=4000)


@pytest.mark.parametrize(
    ("what", "cost"),
    [
        ({"status": 200, "first": 1.2, "usage": Usage(7, 5)}, Used(1, 7, 5)),
        ({"status": 499, "first": 1.2, "pieces": 3}, Used(1, 1000, 3)),
        ({"status": 499}, Used(1, 1000, 0)),
        ({"status": 499, "sent": 1.0}, Used(1, 0, 0)),
        ({"status": 502}, Used(1, 0, 0)),
        ({"status": 499, "cache": "shared"}, Used(1, 0, 0)),
    ],
    ids=["told", "left in a stream", "left before the first byte", "left in the queue", "no answer", "no call"],
)
def test_who_leaves_pays_for_the_prompt_once_a_replica_was_sent_it(what, cost):
    record = msgspec.structs.replace(SENT, reservation=Reservation("k", Amounts(1, 2000, 0), 7, 1), **what)
    assert [used for _, used in settled([record])] == [cost]


def test_what_one_lease_gave_is_settled_in_one_and_other_leases_by_themselves():
    def record(key: str, minute: int, tokens: int) -> Record:
        reservation = Reservation(key, Amounts(1, tokens, 3), minute, 1)
        return msgspec.structs.replace(SENT, first=1.2, usage=Usage(7, 5), reservation=reservation)

    records = [record("a", 7, 20), record("b", 7, 30), record("a", 7, 40), record("a", 8, 50)]
    found = {(one.key, one.minute, one.session): (one.need, used) for one, used in settled(records)}
    assert found == {
        ("a", 7, 1): (Amounts(2, 60, 6), Used(2, 14, 10)),
        ("b", 7, 1): (Amounts(1, 30, 3), Used(1, 7, 5)),
        ("a", 8, 1): (Amounts(1, 50, 3), Used(1, 7, 5)),
    }


def test_of_a_key_without_limits_only_the_use_is_told_and_without_a_key_nothing():
    free = msgspec.structs.replace(SENT, free=True, key=key("f"), first=1.2, usage=Usage(7, 5))
    ((reservation, used),) = settled([free, free, SENT])
    assert (reservation.key, reservation.need, used) == ("f", Amounts(0, 0, 0), Used(2, 14, 10))
