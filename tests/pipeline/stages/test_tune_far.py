"""Work elsewhere: what is heard, in which order, and a worker that is lost without any fault of its work."""

from __future__ import annotations

import math

import msgspec
import pytest
from tune_works import Asked, bowl

from guideway.core.errors import Unavailable
from guideway.core.spec import Train, Tune
from guideway.pipeline.stages.tune.far import FarPool, Letter, Lost
from guideway.pipeline.stages.tune.pool import Died, Done, Reported
from guideway.pipeline.stages.tune.search import search
from guideway.pipeline.stages.tune.study import opened
from guideway.pipeline.worker import Broke

GONE = Lost("its worker was lost: machine 10.0.0.7 is gone", again=True)


class Cluster:
    """Hands whose workers say what a test lets them say; letters travel as bytes, as they do through a real post."""

    def __init__(self) -> None:
        self.begun: list[tuple[int, int, object]] = []
        self.ended: list[int] = []
        self.post: list[bytes] = []
        self.losses: dict[int, Lost] = {}

    def begin(self, ticket, slot, asked):
        self.begun.append((ticket, slot, asked))
        return ticket

    def lost(self, tasks):
        return {ticket: self.losses[ticket] for ticket in tasks if ticket in self.losses}

    def take(self):
        found, self.post = self.post, []
        return [msgspec.msgpack.decode(one, type=Letter) for one in found]

    def end(self, task):
        self.ended.append(task)

    def say(self, ticket, *said):
        self.post += [msgspec.msgpack.encode(Letter(ticket, one)) for one in said]


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


def test_what_workers_say_is_heard_in_their_order_and_done_frees_a_place(cluster):
    pool = FarPool(cluster, 2, 3)
    pool.start(7, "a")
    pool.start(8, "b")
    assert not pool.free and [slot for _, slot, _ in cluster.begun] == [0, 1]
    cluster.say(2, Reported(1, 2.0))
    cluster.say(1, Reported(1, 3.0), Done([(3.0, 1)]))
    heard = [pool.hear() for _ in range(3)]
    assert heard == [(8, Reported(1, 2.0)), (7, Reported(1, 3.0)), (7, Done([[3.0, 1]]))]
    assert pool.free and pool.busy == 1
    pool.start(9, "c")
    assert cluster.begun[-1] == (3, 0, "c"), "in the place that is free"


def test_a_loss_that_is_no_number_is_heard_as_it_is(cluster):
    pool = FarPool(cluster, 1, 3)
    pool.start(0, "a")
    cluster.say(1, Done([(math.nan, 1)]))
    _, said = pool.hear()
    assert math.isnan(said.found[0][0])


def test_work_that_is_stopped_is_ended_and_what_it_still_says_is_nobodys(cluster):
    pool = FarPool(cluster, 1, 3)
    pool.start(0, "a")
    pool.stop(0)
    assert cluster.ended == [1] and pool.free
    pool.start(0, "b")
    cluster.say(1, Reported(5, 9.0), Done([(9.0, 1)]))
    cluster.say(2, Reported(1, 1.0))
    assert pool.hear() == (0, Reported(1, 1.0))


def test_work_whose_worker_is_lost_begins_again_and_is_heard_as_if_nothing_had_been(cluster):
    pool = FarPool(cluster, 1, 3)
    pool.start(4, "a")
    cluster.say(1, Reported(1, 2.0))
    cluster.losses[1] = GONE
    assert pool.hear() == (4, Reported(1, 2.0)), "what it wrote before is not lost"
    cluster.say(2, Reported(1, 2.0), Done([(2.0, 1)]))
    assert [pool.hear(), pool.hear()] == [(4, Reported(1, 2.0)), (4, Done([[2.0, 1]]))]
    assert [asked for _, _, asked in cluster.begun] == ["a", "a"] and pool.again == 1


def test_work_that_lost_too_many_workers_has_failed(cluster):
    pool = FarPool(cluster, 1, 2)
    pool.start(4, "a")
    cluster.losses = {1: GONE, 2: GONE, 3: GONE}
    assert pool.hear() == (4, Died(GONE.reason))
    assert len(cluster.begun) == 3 and pool.again == 2 and pool.free


def test_a_worker_that_lacked_memory_is_not_tried_again(cluster):
    pool = FarPool(cluster, 1, 3)
    pool.start(4, "a")
    cluster.losses[1] = Lost("not enough memory", again=False)
    assert pool.hear() == (4, Died("not enough memory")) and len(cluster.begun) == 1


def test_a_worker_that_ends_after_its_last_word_is_not_lost(cluster):
    pool = FarPool(cluster, 1, 3)
    pool.start(4, "a")
    cluster.say(1, Done([(2.0, 1)]))
    cluster.losses[1] = GONE
    assert pool.hear() == (4, Done([[2.0, 1]]))
    pool.start(5, "b")
    cluster.say(2, Died("no"))
    assert pool.hear() == (5, Died("no")) and pool.again == 0


def test_what_is_wrong_with_a_machine_ends_the_search(cluster):
    pool = FarPool(cluster, 1, 3)
    pool.start(4, "a")
    cluster.say(1, Broke("a worker on b has torch 1", "runner", "the same environment", Unavailable.exit_code))
    with pytest.raises(Exception, match=r"runner: a worker on b has torch 1 \(the same environment\)") as caught:
        pool.hear()
    assert caught.value.exit_code == Unavailable.exit_code
    pool.close()
    assert cluster.ended == [1] and not pool.busy


class Working(Cluster):
    """A cluster on which every task does its work when it begins; the first so many workers are lost half-way."""

    def __init__(self, losing: int) -> None:
        super().__init__()
        self.losing = losing

    def begin(self, ticket, slot, asked):
        said = []
        found = bowl(asked, lambda point, loss: said.append(Reported(point, loss)))
        if ticket <= self.losing:
            self.losses[ticket] = GONE
            self.say(ticket, *said[:5])
        else:
            self.say(ticket, *said, Done(found))
        return super().begin(ticket, slot, asked)


@pytest.mark.parametrize("prune", [False, True])
def test_a_search_that_lost_workers_ends_as_if_it_had_not(tmp_path, prune):
    def searched(name: str, losing: int):
        space = {"learning_rate": {"low": 1e-5, "high": 1.0, "log": True}}
        tune = msgspec.convert({"search": space, "trials": 12, "prune": prune}, Tune)
        pool = FarPool(Working(losing), 1, 3)
        with opened(tmp_path / name, tune, Train()) as study:
            found = search(study, pool, lambda trial: Asked(trial.parameters, trial.seed), lambda trials: None)
        return found, pool.again

    whole, none = searched("whole", 0)
    lost, again = searched("lost", 3)
    assert lost == whole and (none, again) == (0, 3)
    assert prune == any(one.state == "pruned" for one in whole.values())
