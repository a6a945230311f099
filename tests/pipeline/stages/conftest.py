"""One whole pass over a small data set, shared by the tests of all stages."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from classify_rig import classify_spec, make_project
from embed_rig import faq_spec, make_faq
from ray_rig import cluster
from stage_rig import STAGES, Pass, colour_rows, colour_spec, run_stage, write_jsonl

sys.path.append(str(Path(__file__).parents[2] / "sealing"))


@pytest.fixture(scope="session")
def colours(tmp_path_factory) -> Pass:
    """One real pass: data, train, compress to int8, evaluate."""
    root = tmp_path_factory.mktemp("colours")
    write_jsonl(root / "rows.jsonl", colour_rows())
    spec, out, jobs = colour_spec(), {}, {}
    for name, stage in STAGES.items():
        inputs = {need: out[need] for need in stage.needs}
        jobs[name] = run_stage(name, spec, root, root / "out" / name, **inputs)
        out[name] = root / "out" / name
    return Pass(spec, root, out, jobs)


@pytest.fixture(scope="session")
def intents(tmp_path_factory) -> Pass:
    """One real pass of a classifier: data, train, compress to int8, evaluate."""
    root = make_project(tmp_path_factory.mktemp("intents"))
    spec, out, jobs = classify_spec(), {}, {}
    for name, stage in STAGES.items():
        jobs[name] = run_stage(name, spec, root, root / "out" / name, **{need: out[need] for need in stage.needs})
        out[name] = root / "out" / name
    return Pass(spec, root, out, jobs)


@pytest.fixture(scope="session")
def faq(tmp_path_factory) -> Pass:
    """One real pass of embeddings: data, train, compress to int8, evaluate."""
    root = make_faq(tmp_path_factory.mktemp("faq"))
    spec, out, jobs = faq_spec(), {}, {}
    for name, stage in STAGES.items():
        jobs[name] = run_stage(name, spec, root, root / "out" / name, **{need: out[need] for need in stage.needs})
        out[name] = root / "out" / name
    return Pass(spec, root, out, jobs)


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[str]:
    """The address of a Ray cluster, which takes minutes to begin."""
    yield from cluster()
