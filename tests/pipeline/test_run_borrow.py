"""A stage can start from the model of a sealed release: the one that ships, or the one that it was made from."""

from __future__ import annotations

import importlib

import pytest

from guideway.core.artifact import Artifact, File, digest_bytes
from guideway.core.errors import SpecError
from guideway.core.release import Release
from guideway.core.route import Arm, Route
from guideway.pipeline.borrow import borrow
from guideway.pipeline.plan import plan
from guideway.pipeline.run import run
from guideway.pipeline.workshop import for_environment
from guideway.store import fleet, releases, steps
from guideway.store.steps import StepResult

DIGEST, OTHER = "sha256:" + "1" * 64, "sha256:" + "2" * 64


def files(project, **named):
    """Files with these contents, kept as blobs; ``__`` in a name is a dot, and ``_of_`` a slash."""
    found = []
    for name, text in named.items():
        path = name.replace("_of_", "/").replace("__", ".")
        found.append(File(path, len(text), project.shop.blobs.put_bytes(text.encode())))
    return Artifact.of(found)


def keep(project, stage, artifact, **inputs):
    parts = {f"input {name}": digest for name, digest in inputs.items()}
    result = StepResult(
        key=digest_bytes(f"{stage} {artifact.digest}".encode()),
        stage=stage, artifact=artifact, evidence=(), facts=(), envelope=DIGEST, seconds=1.0, at=1.0, parts=parts,
    )  # fmt: skip
    steps.keep(project.shop.database, result)


def sealed(project, artifact, digest=DIGEST):
    releases.add(project.shop.database, Release(digest, "small", 0, 1.0, artifact.files))
    return f"release:small@{digest}"


@pytest.fixture
def shipped(project):
    """A release that ships safetensors."""
    return sealed(project, files(project, model_of_config__json="{}", model_of_a__safetensors="w", serve__json="{}"))


@pytest.fixture
def made(project):
    """A release that ships ONNX, and the build that it came from."""
    trained = files(
        project, config__json="{}", a__safetensors="w", report__html="r", curve__json="[]", adapter_of_x__json="{}"
    )
    package = files(project, model_of_model__onnx="o", serve__json="{}")
    keep(project, "train", files(project, config__json="another"))
    keep(project, "train", trained)
    keep(project, "package", files(project, serve__json="another"), train=OTHER)
    keep(project, "package", package, train=trained.digest)
    return sealed(project, package)


def names(artifact):
    return [file.path for file in artifact.files]


def test_the_safetensors_that_ship_are_the_model(project, shipped):
    assert names(borrow(project.shop.database, shipped)) == ["a.safetensors", "config.json"]


def test_where_onnx_ships_it_is_the_model_that_was_trained_in_this_home(project, made):
    assert names(borrow(project.shop.database, made)) == ["a.safetensors", "config.json"]


def test_a_release_without_safetensors_that_was_built_elsewhere_is_refused(project):
    said = sealed(project, files(project, model_of_model__onnx="o"))
    with pytest.raises(SpecError, match="ships no safetensors, and what it was made from is not here"):
        borrow(project.shop.database, said)


@pytest.mark.parametrize("said", [f"release:small@{OTHER}", f"release:other@{DIGEST}"])
def test_a_release_that_is_not_here_is_refused_by_the_plan_already(project, shipped, said):
    stage = importlib.import_module("fake_borrower")
    with pytest.raises(SpecError, match="there is no release") as refused:
        plan(project.spec(mode=said), project.root, [stage], project.shop.known)
    assert refused.value.where == said


def test_a_stage_finds_the_model_among_its_inputs_and_runs_anew_when_it_changes(project, shipped):
    project.stages = {"borrower": importlib.import_module("fake_borrower")}
    first = project.run(mode=shipped)["borrower"]
    assert first.facts == ("a.safetensors config.json",) and "input base" in first.parts
    assert project.run(mode=shipped)["borrower"] == first
    other = sealed(project, files(project, model_of_b__safetensors="v"), OTHER)
    (step,) = plan(project.spec(mode=other), project.root, list(project.stages.values()), project.shop.known)
    assert step.why == "input changed: base"
    assert project.run(mode=other)["borrower"].facts == ("b.safetensors",)


def serve(project, digest, environment="prod"):
    route = Route(environment, "small", 1, fleet.take_epoch(project.shop.database), Arm(digest, ()))
    fleet.put_route(project.shop.database, route)


def test_what_serves_is_the_whole_release_of_that_environment_and_nothing_where_none_does(project, shipped):
    serve(project, DIGEST)
    assert names(borrow(project.shop.database, "serving", "prod")) == [
        "model/a.safetensors", "model/config.json", "serve.json",
    ]  # fmt: skip
    assert names(borrow(project.shop.database, "serving", "staging")) == []
    assert names(borrow(project.shop.database, f"whole:{shipped}")) == names(
        borrow(project.shop.database, "serving", "prod")
    )


def test_a_step_that_reads_what_serves_runs_anew_when_something_else_does(project, shipped):
    stages = {"borrower": importlib.import_module("fake_borrower")}

    def ran(environment):
        project.events.clear()
        shop = for_environment(project.shop, environment)
        found = run(project.spec(mode="serving"), project.root, stages, shop, project.events.append)["borrower"]
        return found.facts, type(project.events[0]).__name__

    assert ran("prod") == (("",), "StepStarted")
    serve(project, DIGEST)
    assert ran("prod") == (("model model/a.safetensors model/config.json serve.json",), "StepStarted")
    assert ran("prod")[1] == "StepFinished"
    assert ran("staging") == (("",), "StepFinished")
    sealed(project, files(project, serve__json="{}"), OTHER)
    serve(project, OTHER)
    assert ran("prod") == (("serve.json",), "StepStarted")
    (step,) = plan(
        project.spec(mode="serving"), project.root, list(stages.values()), for_environment(project.shop, "prod").known
    )
    assert not step.runs
