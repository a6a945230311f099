"""What a request is said to have cost."""

from __future__ import annotations

import msgspec
import pytest

from guideway.gateway.limits.amounts import Used
from guideway.gateway.record import Record
from guideway.gateway.reports import used
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
    assert used(msgspec.structs.replace(SENT, **what)) == cost
