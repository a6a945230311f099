"""Several processes that train one model: the same mathematics as one, and none outlives another's death."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from safetensors.numpy import load_file
from stage_rig import FakeJob, colour_rows, colour_spec, run_stage, write_jsonl

from guideway.core.errors import GuidewayError
from guideway.core.spec import Spec
from guideway.pipeline.stages import train

SHORT = {"steps": 12, "batch": 7, "accumulate": 2, "validate_every": 3, "checkpoint_every": 2}
"""Seven rows for two processes: never the same number for both."""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """Rows, cleaned and split."""
    root = tmp_path_factory.mktemp("together")
    write_jsonl(root / "rows.jsonl", colour_rows())
    run_stage("data", colour_spec(), root, root / "data")
    return root


def asked(**more) -> Spec:
    plain = dict(train.params(colour_spec()))
    return colour_spec(train={**plain, **SHORT, **more})


def trained(root: Path, name: str, **more) -> FakeJob:
    return run_stage("train", asked(**more), root, root / name, data=root / "data")


def curve(job: FakeJob) -> list[dict]:
    return json.loads((job.out / "curve.json").read_text())


def weights(job: FakeJob) -> dict:
    return {name: one for path in job.out.glob("*.safetensors") for name, one in load_file(path).items()}


@pytest.mark.thorough
def test_two_processes_learn_what_one_learns_and_leave_the_same_things(prepared):
    one, two = trained(prepared, "one"), trained(prepared, "two", processes=2)
    losses = [[point["loss"] for point in curve(job)] for job in (one, two)]
    held = [[point["validation"]["loss"] for point in curve(job) if "validation" in point] for job in (one, two)]
    assert losses[0][-1] < losses[0][0] - 0.5 and len(held[0]) == 4
    assert losses[1] == pytest.approx(losses[0], abs=1e-5) and held[1] == pytest.approx(held[0], abs=1e-5)
    assert all(abs(other - weights(two)[name]).max() < 1e-4 for name, other in weights(one).items())
    assert {path.name for path in one.out.iterdir()} == {path.name for path in two.out.iterdir()}
    assert [name for name, _ in one.heard] == [name for name, _ in two.heard] and one.facts == two.facts
    assert two.moved[-1] == (12, 12)


class Killer(FakeJob):
    """Kills the process of one *rank* as soon as *step* is done."""

    rank, step, dead = 1, 5, False

    def progress(self, done, total, note=""):
        super().progress(done, total, note)
        if done >= self.step and not self.dead:
            self.dead = True
            os.kill(member(self.rank), signal.SIGKILL)


def children() -> list[int]:
    found = [int(pid) for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()]
    return [pid for pid in found if b"guideway.pipeline.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def member(rank: int) -> int:
    wanted = f"GUIDEWAY_RANK={rank}".encode()
    return next(pid for pid in children() if wanted in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"))


LONG = {"processes": 2, "steps": 24, "patience": 9}


@pytest.fixture(scope="module")
def whole(prepared) -> FakeJob:
    """A training that nobody disturbed."""
    return trained(prepared, "whole", **LONG)


@pytest.mark.thorough
@pytest.mark.parametrize("rank", [0, 1])
def test_when_one_is_killed_all_end_and_the_next_build_goes_on_and_ends_the_same(prepared, whole, rank):
    job = Killer(dict(whole.params), whole.inputs, prepared, prepared / f"killed-{rank}")
    job.rank = rank
    with pytest.raises(GuidewayError, match=f"process {rank + 1} of 2 was killed"):
        train.run(job)
    assert not children()
    again = FakeJob(dict(job.params), job.inputs, prepared, prepared / f"again-{rank}")
    again.resume = job.resume
    train.run(again)
    assert any("went on from the checkpoint" in one for one in again.facts)
    assert (again.out / "curve.json").read_bytes() == (whole.out / "curve.json").read_bytes()
    assert all((weights(again)[name] == one).all() for name, one in weights(whole).items())


@pytest.mark.thorough
def test_a_loss_that_is_no_number_is_the_same_clear_line_from_several_processes(prepared):
    with pytest.raises(GuidewayError, match=r"the loss became (nan|inf) at step \d+") as caught:
        trained(prepared, "broken", processes=2, learning_rate=1e30, warmup=0)
    assert caught.value.where == "train.learning_rate" and not children()
