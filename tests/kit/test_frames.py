"""Frames: what is whole is read, and a torn end is never taken for a record."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guideway.kit.frames import HEAD_BYTES, LIMIT, frame, frames

payloads = st.lists(st.binary(min_size=1, max_size=40), max_size=6)


@given(payloads)
def test_what_was_framed_is_read_again_with_the_places_between(some):
    data = b"".join(map(frame, some))
    read = list(frames(data))
    assert [payload for payload, _ in read] == some
    assert [end for _, end in read][-1:] == [len(data)][: len(some)]
    for place, (_, end) in enumerate(read):
        assert [payload for payload, _ in frames(data, end)] == some[place + 1 :]


@given(payloads, st.data())
def test_an_end_that_is_torn_at_any_byte_leaves_the_frames_before_it(some, data):
    whole = b"".join(map(frame, some))
    cut = data.draw(st.integers(0, len(whole)))
    read = [payload for payload, end in frames(whole[:cut])]
    ends, at = [], 0
    for payload in some:
        at += HEAD_BYTES + len(payload)
        ends.append(at)
    assert read == some[: sum(end <= cut for end in ends)]


@given(st.binary(min_size=1, max_size=40), st.data())
def test_one_flipped_bit_is_found(payload, data):
    bad = bytearray(frame(payload))
    bit = data.draw(st.integers(0, len(bad) * 8 - 1))
    bad[bit // 8] ^= 1 << bit % 8
    assert list(frames(bytes(bad))) == []


def test_a_run_of_zeros_is_no_frame():
    assert list(frames(frame(b"x") + bytes(4096))) == [(b"x", HEAD_BYTES + 1)]


@pytest.mark.parametrize("size", [0, LIMIT + 1])
def test_what_is_empty_or_too_large_cannot_be_framed(size):
    with pytest.raises(ValueError, match="frame"):
        frame(bytes(size))
