"""Rows of files and batches: pages, owners, and what may be forgotten."""

from __future__ import annotations

import pytest

from guideway.store import batches
from guideway.store.batches import Batch, Page, StoredFile


def stored(number: int, owner: str = "a", **changes) -> StoredFile:
    return StoredFile(
        **{
            **{
                "id": f"file-{number}",
                "owner": owner,
                "purpose": "batch",
                "filename": "n",
                "bytes": 1,
                "created": float(number // 2),
                "expires": 100.0 + number,
            },
            **changes,
        }
    )


def made(number: int, owner: str = "a", **changes) -> Batch:
    return Batch(
        **{
            **{
                "id": f"batch_{number}",
                "owner": owner,
                "key": "k",
                "endpoint": "/v1/embeddings",
                "input_file_id": f"file-{number}",
                "created": float(number),
                "expires": 9.0,
            },
            **changes,
        }
    )


def test_files_are_found_by_their_owner_alone(database):
    batches.put_file(database, stored(1))
    assert batches.file(database, "a", "file-1") == stored(1)
    assert batches.file(database, "b", "file-1") is None
    batches.drop_file(database, "file-1")
    assert batches.file(database, "a", "file-1") is None


@pytest.mark.parametrize("ascending", [True, False])
def test_pages_give_every_row_once_even_where_times_are_equal(database, ascending):
    for number in range(9):
        batches.put_file(database, stored(number))
        batches.put_file(database, stored(number + 50, owner="b"))
    seen, after = [], None
    while True:
        found = batches.files(database, "a", Page(2, after, ascending))
        seen += [one.id for one in found[:2]]
        if len(found) <= 2:
            break
        after = found[1].id
    expected = [f"file-{number}" for number in range(9)]
    assert seen == (expected if ascending else expected[::-1])


def test_a_page_after_the_row_of_another_owner_is_empty(database):
    batches.put_batch(database, made(1))
    batches.put_batch(database, made(2, owner="b"))
    assert batches.batches(database, "a", Page(5, "batch_2")) == []
    assert batches.batches(database, "a", Page(5)) == [made(1)]


def test_files_are_chosen_by_purpose(database):
    batches.put_file(database, stored(1))
    batches.put_file(database, stored(2, purpose="batch_output"))
    assert [one.id for one in batches.files(database, "a", Page(5), "batch_output")] == ["file-2"]


def test_the_results_and_the_end_of_a_batch_are_written_together(database):
    with pytest.raises(RuntimeError), database.transaction():
        batches.put_batch(database, made(1, status="completed"), (stored(7),))
        raise RuntimeError
    assert batches.file_ids(database) == set()
    batches.put_batch(database, made(1).reached("completed", 5.0), (stored(7),))
    assert batches.file_ids(database) == {"file-7"}
    assert batches.batch(database, "a", "batch_1").at == {"completed": 5.0}


def test_what_is_unfinished_is_listed_the_oldest_first_and_keeps_its_input(database):
    for number in (3, 1, 2):
        batches.put_file(database, stored(number, expires=1.0))
        batches.put_batch(database, made(number, status="expired" if number == 2 else "in_progress"))
    assert [one.id for one in batches.unfinished(database)] == ["batch_1", "batch_3"]
    assert batches.in_use(database, "file-1")
    assert not batches.in_use(database, "file-2")
    assert batches.overdue_files(database, 2.0) == ["file-2"]
    assert batches.overdue_files(database, 0.5) == []
    assert batches.drop_old_batches(database, 10.0) == 1
    assert [one.id for one in batches.batches(database, "a", Page(5))] == ["batch_3", "batch_1"]
