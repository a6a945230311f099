"""What a process that trains with others learns from, and what is carried for those far away."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from stage_rig import spec_of

from guideway.core.spec import Train
from guideway.pipeline.needs import PROCESS, needs, shape_of, training_memory, whole_memory
from guideway.pipeline.stages.threads import cores_of
from guideway.pipeline.stages.train import ranks
from guideway.pipeline.stages.train.checkpoints import Checkpoints


def as_rank(monkeypatch, rank, size):
    monkeypatch.setattr(ranks, "size", lambda: size)
    monkeypatch.setattr(ranks, "rank", lambda: rank)


@given(rows=st.lists(st.integers(), max_size=40), size=st.integers(1, 9))
def test_every_row_of_a_batch_is_learned_by_exactly_one_process(rows, size):
    with pytest.MonkeyPatch.context() as patch:
        shares = []
        for rank in range(size):
            as_rank(patch, rank, size)
            shares.append(ranks.share(rows))
    assert sorted(row for share in shares for row in share) == sorted(rows)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_alone_nothing_is_sent_and_everything_is_its_own():
    tensors = {"one": torch.ones(2)}
    assert (ranks.size(), ranks.rank(), ranks.first()) == (1, 0, True)
    assert ranks.added([tensors["one"]], 2.5, 3) == (2.5, 3)
    assert ranks.told("found", str) == "found" and ranks.sent(tensors) == tensors
    assert ranks.gathered(tensors["one"])[0] is tensors["one"] and ranks.sent(None) == {}


@given(sizes=st.lists(st.integers(1, 40), max_size=30))
def test_gradients_are_sent_in_their_order_and_never_more_at_once_than_a_bucket_or_one_of_them(sizes):
    tensors = [torch.zeros(size) for size in sizes]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranks, "BUCKET", 50)
        buckets = list(ranks._buckets(tensors))
    assert [id(one) for bucket in buckets for one in bucket] == [id(one) for one in tensors]
    assert all(len(bucket) == 1 or sum(one.numel() for one in bucket) <= 50 for bucket in buckets)


def test_places_that_work_at_once_share_the_cores(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1, 2, 3, 4})
    assert [cores_of(place, 2) for place in range(2)] == [{0, 2, 4}, {1, 3}]
    assert cores_of(6, 7) == {1}, "more places than cores: each has one all the same"


def test_every_process_holds_the_weights_and_its_share_of_the_rows():
    train = Train(batch=10, processes=4)
    shape = shape_of(train.architecture)
    assert whole_memory(train, shape) == 4 * training_memory(shape, 3)


def test_a_training_elsewhere_needs_no_memory_for_it_here():
    here, there = (
        needs(spec_of(train={"batch": 4096}, runner={"kind": kind}), shape_of(Train().architecture), 10.0)[0]
        for kind in ("local", "ray")
    )
    assert there.memory < here.memory / 10 and there.operations == here.operations


def test_a_search_needs_one_process_a_trial_here_and_on_a_cluster_only_what_sends_and_fetches():
    tune = {"search": {"batch": {"choices": [8, 16]}}, "parallel": 2}
    plain, spread = (
        needs(spec_of(tune=tune, **more), shape_of(Train().architecture), 10.0)[-1]
        for more in ({}, {"train": {"processes": 8}, "runner": {"kind": "ray", "address": "a:1"}})
    )
    assert spread == plain._replace(memory=PROCESS) and plain.stage == "tune"
    assert plain.memory > 2 * PROCESS


def test_the_newest_checkpoint_that_is_whole_is_found_without_reading_it_into_memory(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.newest_file() is None
    for step in (1, 2):
        checkpoints.save(step, {"one": torch.ones(2)}, "{}")
    newest = checkpoints.newest_file()
    newest.write_bytes(newest.read_bytes()[:-1])
    assert newest.name.startswith("step-000000002") and checkpoints.newest_file().name.startswith("step-000000001")
