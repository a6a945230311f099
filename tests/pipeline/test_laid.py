"""A release that training starts from is seen like a folder before anything runs."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import save

from guideway.core.artifact import Artifact, File
from guideway.core.errors import Corrupt, SpecError
from guideway.core.release import Release
from guideway.core.spec import load
from guideway.kit.machine import Machine
from guideway.pipeline.check import check
from guideway.pipeline.laid import laid
from guideway.pipeline.preflight import preflight
from guideway.store import releases

DIGEST, OTHER = "sha256:" + "1" * 64, "sha256:" + "2" * 64
CONFIG = {"num_hidden_layers": 2, "hidden_size": 8, "vocab_size": 50, "max_position_embeddings": 32}
LARGE = Machine(memory=10**12, memory_free=10**12, disk_free=10**12)


def ship(project, digest=DIGEST, without="", **config):
    """A release called small with a model of 22 weights, but not the file called *without*."""
    weights = save({"a": np.zeros((3, 5), np.float32), "b": np.zeros(7, np.float32)})
    model = {
        "config.json": json.dumps(CONFIG | config).encode(),
        "tokenizer.json": b"{}",
        "tokenizer_config.json": b"{}",
        "model.safetensors": weights,
    }
    blobs = project.shop.blobs
    files = [File(f"model/{name}", len(one), blobs.put_bytes(one)) for name, one in model.items() if name != without]
    releases.add(project.shop.database, Release(digest, "small", 0, 1.0, Artifact.of(files).files))
    return {file.path.removeprefix("model/"): file for file in files}


def asked(project, train=f"{{recipe: full, base: 'release:small@{DIGEST}'}}", more=""):
    """A spec whose fourth line is about training."""
    (project.root / "a.txt").write_text("hello")
    path = project.root / "guideway.yaml"
    head = "guideway: 1\nname: small\ndata: {sources: [{path: a.txt}]}\n"
    path.write_text(f"{head}train: {train}\ntask: completion\n{more}")
    return load(path, "dev", {})


def refused(project, file, kind=SpecError):
    with pytest.raises(kind) as caught, laid(file, project.home):
        pass
    return str(caught.value)


def test_its_size_is_known_and_nothing_of_it_is_left(project):
    ship(project)
    file = asked(project)
    check(file)
    with laid(file, project.home) as seen:
        flight = preflight(seen.spec, seen.root, LARGE, None)
        assert flight is not None and flight.needs[0].disk == 22 * 4 * 2
    assert preflight(file.spec, file.root, LARGE, None) is None
    assert not list((project.home.run / "work").iterdir())


@pytest.mark.parametrize("said", [f"release:small@{OTHER}", f"release:other@{DIGEST}"])
def test_one_that_is_not_in_this_home_is_refused_with_the_line_that_names_it(project, said):
    ship(project)
    told = refused(project, asked(project, f"\n  recipe: full\n  base: {said}"))
    assert told.startswith("guideway.yaml:6: there is no release") and "guideway pull" in told


@pytest.mark.parametrize("without", ["config.json", "tokenizer.json", "tokenizer_config.json"])
def test_one_that_lacks_a_file_is_refused_as_a_folder_is(project, without):
    ship(project, without=without)
    assert refused(project, asked(project)).startswith(f"guideway.yaml:4: the base has no {without}")


def test_one_that_wants_to_run_its_own_code_is_refused_as_a_folder_is(project):
    ship(project, auto_map={"AutoModel": "theirs.Model"})
    assert refused(project, asked(project)).startswith("guideway.yaml:4: the base wants to run code of its own")


def test_one_whose_sizes_the_precision_cannot_have_is_refused_as_a_folder_is(project, monkeypatch):
    ship(project, hidden_size=100)
    file = asked(project, more="serve: {engine: vllm}\ncompress: {precision: w4a16}\n")
    assert refused(project, file).startswith("guideway.yaml:7: ")


def test_a_teacher_is_looked_into_too(project):
    ship(project, without="tokenizer.json")
    file = asked(project, f"\n  recipe: distill\n  teacher: release:small@{DIGEST}")
    assert refused(project, file).startswith("guideway.yaml:6: the base has no tokenizer.json")


def test_a_file_of_it_that_is_missing_is_one_clear_line(project):
    files = ship(project)
    project.shop.blobs.discard(files["config.json"].digest)
    assert "this blob is missing" in refused(project, asked(project), Corrupt)
    assert not list((project.home.run / "work").iterdir())


def test_the_release_that_is_compared_with_is_looked_for_too(project):
    file = asked(project, "{steps: 1}", f"evaluate:\n  against: release:small@{DIGEST}\n")
    assert refused(project, file).startswith("guideway.yaml:7: there is no release 'small'")
    ship(project)
    with laid(file, project.home) as seen:
        assert seen is file


def test_a_spec_that_names_no_release_asks_no_state(project, monkeypatch):
    monkeypatch.setattr("guideway.store.database.Database", None)
    file = asked(project, "{steps: 1}", "evaluate: {against: serving}\n")
    with laid(file, project.home) as seen:
        assert seen is file
