"""Several processes, and where they run: what means nothing is refused with its line."""

from __future__ import annotations

import pytest

from guideway.core.errors import SpecError
from guideway.core.spec import load
from guideway.core.spec.model import BUILD_KEYS

WHOLE = """guideway: 1
name: small
data: {{sources: [{{path: a.jsonl}}]}}
train: {train}
runner: {runner}
"""


def loaded(tmp_path, train="{}", runner="{}"):
    path = tmp_path / "guideway.yaml"
    path.write_text(WHOLE.format(train=train, runner=runner))
    return load(path).spec


def test_a_runner_is_no_part_of_a_release_and_the_processes_are(tmp_path):
    spec = loaded(tmp_path, "{processes: 4}", "{kind: ray, address: '10.0.0.5:6379', gpus: 1}")
    assert "runner" not in BUILD_KEYS and "train" in BUILD_KEYS
    assert (spec.train.processes, spec.runner.kind, spec.runner.gpus, spec.runner.restarts) == (4, "ray", 1, 3)


@pytest.mark.parametrize(
    ("train", "runner", "line", "said"),
    [
        ("{processes: 33}", "{}", 4, "33 processes cannot share a batch of 32 rows"),
        ("{processes: 2, recipe: full, base: b, privacy: {epsilon: 8}}", "{}", 4, "with privacy has one process"),
        ("{}", "{kind: ray, address: 'ray://10.0.0.5:10001'}", 5, "is not HOST:PORT"),
        ("{}", "{kind: ray, address: 'me:secret@host:6379'}", 5, "is not HOST:PORT"),
        ("{}", "{kind: ray}", 5, "needs the address of a cluster"),
        ("{}", "{address: '10.0.0.5:6379'}", 5, "runner 'local' has no address"),
    ],
)
def test_what_means_nothing_is_refused_with_its_line(tmp_path, train, runner, line, said):
    with pytest.raises(SpecError, match=said) as caught:
        loaded(tmp_path, train, runner)
    assert caught.value.where.endswith(f"guideway.yaml:{line}")


@pytest.mark.parametrize("bad", ["{kind: slurm}", "{cpus: 0}", "{gpus: -1}", "{workers: 3}"])
def test_a_runner_that_nobody_has_is_refused(tmp_path, bad):
    with pytest.raises(SpecError):
        loaded(tmp_path, runner=bad)
