"""What is carried to and from a cluster: in order, whole or not there, and never out of its folder."""

from __future__ import annotations

import asyncio

import pytest

from guideway.core.errors import Corrupt
from guideway.pipeline.stages.train import ray_post
from guideway.pipeline.stages.train.ray_post import RESUME, SAID, Inbox, Piece, Post, pieces_of


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(ray_post, "PIECE", 4)


@pytest.mark.parametrize("data", [b"", b"abc", b"abcd", b"abcdefghi"])
def test_a_file_comes_as_it_was_sent_and_only_when_it_is_whole(tmp_path, data):
    (tmp_path / "sent").write_bytes(data)
    pieces, inbox = list(pieces_of(tmp_path / "sent", RESUME, "deep/name")), Inbox(tmp_path / "got")
    for piece in pieces:
        assert not (tmp_path / "got/deep/name").exists()
        inbox.add(piece)
    assert (tmp_path / "got/deep/name").read_bytes() == data
    assert len(pieces) == max(1, -(-len(data) // 4))


def test_a_file_that_broke_off_is_begun_anew(tmp_path):
    inbox = Inbox(tmp_path)
    for piece in (
        Piece(RESUME, b"old!", "a", 0, 3),
        Piece(RESUME, b"new!", "a", 0, 2),
        Piece(RESUME, b"end", "a", 1, 2),
    ):
        inbox.add(piece)
    assert (tmp_path / "a").read_bytes() == b"new!end"


@pytest.mark.parametrize("name", ["../out", "/etc/out", "a/../../out", "", ".", "a/.."])
def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path, name):
    inbox = Inbox(tmp_path / "in")
    with pytest.raises(Corrupt, match="leads out of its folder"):
        inbox.add(Piece(RESUME, b"x", name))
    assert not any(tmp_path.glob("*"))


def test_messages_wait_in_their_order_and_the_newest_whole_checkpoint_stays():
    async def story():
        post = Post()
        first, broken = Piece(RESUME, b"a", "one"), Piece(RESUME, b"b", "two", 0, 2)
        for piece in (Piece(SAID, b"1"), first, broken, Piece(SAID, b"2")):
            await post.put(piece)
        assert [piece.data for piece in await post.take()] == [b"1", b"a", b"b", b"2"]
        assert await post.newest() == [first], "the other one is not whole"
        rest = Piece(RESUME, b"c", "two", 1, 2)
        await post.put(rest)
        assert await post.newest() == [broken, rest]
        assert await post.take() == [rest] and await post.take() == []

    asyncio.run(story())


def test_a_sender_waits_until_there_is_room():
    async def story():
        post = Post()
        for number in range(ray_post.WAITING):
            await post.put(Piece(SAID, str(number).encode()))
        late = asyncio.ensure_future(post.put(Piece(SAID, b"late")))
        await asyncio.sleep(0)
        assert not late.done()
        assert len(await post.take()) == ray_post.WAITING
        await late
        assert [piece.data for piece in await post.take()] == [b"late"]

    asyncio.run(story())
