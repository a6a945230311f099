"""Stages that only some specs have: others take their results where they are, and do without where they are not."""

from __future__ import annotations

import importlib

import msgspec
import pytest

from guideway.pipeline.plan import plan
from guideway.pipeline.run import run
from guideway.pipeline.stages import STAGES, stages_for

NAMES = ("first", "search", "choice", "taker")


@pytest.fixture
def build(project):
    """Runs the stages named, with so many trials; what ran, and what the last one took."""

    def build(trials: int, names=NAMES):
        spec = msgspec.structs.replace(
            project.spec(), evaluate=msgspec.structs.replace(project.spec().evaluate, examples=trials)
        )
        stages = {name: importlib.import_module(f"fake_{name}") for name in names}
        steps = plan(spec, project.root, list(stages.values()), project.shop.known)
        results = run(spec, project.root, stages, project.shop, project.events.append)
        (file,) = results["taker"].artifact.files
        why = {step.stage: step.why for step in steps}
        return project.ran(), project.shop.blobs.read(file.digest).decode(), why

    return build


def test_a_stage_takes_the_result_of_one_that_is_there_and_does_without_one_that_is_not(build):
    assert build(20, ("first", "taker"))[:2] == (["first", "taker"], "the defaults")
    ran, taken, why = build(20)
    assert (ran, taken) == (["search", "taker"], "2")
    assert why["taker"] == "follows choice"


def test_a_search_that_ends_in_the_same_choice_trains_nothing_anew(build):
    build(20)
    ran, taken, why = build(21)
    assert (ran, taken) == (["search"], "2")
    assert why == {
        "first": "cached", "search": "parameter changed: trials", "choice": "follows search", "taker": "follows choice",
    }  # fmt: skip
    assert build(30)[:2] == (["search", "taker"], "3")


def test_what_a_stage_took_is_in_its_provenance(build, project):
    from guideway.signing import dsse
    from guideway.signing.keys import trusted
    from guideway.store import steps

    build(20)
    envelope = steps.latest(project.shop.database, "taker").envelope
    said = dsse.unseal(project.shop.blobs.read(envelope), trusted(project.home.keys))
    chosen = steps.latest(project.shop.database, "choice").artifact.digest.removeprefix("sha256:")
    assert chosen in str(said["predicate"]["buildDefinition"]["resolvedDependencies"])


def test_every_stage_names_inputs_that_come_before_it(project):
    before: list[str] = []
    for name, stage in STAGES.items():
        assert set(stage.needs) <= set(before), name
        assert set(getattr(stage, "uses", ())) <= set(before), name
        before.append(name)
    assert list(stages_for(project.spec())) == [
        name for name in STAGES if name not in ("tune", "choose", "explain", "reference")
    ]
