"""Stage package: what ships is laid out, and safetensors in canonical shards."""

from __future__ import annotations

import json

import numpy as np
import pytest
from stage_rig import FakeJob, spec_of

from guideway.pipeline.stages import package
from guideway.replica.torch_backend import TorchBackend
from guideway.sealing.reshard import INDEX
from guideway.sealing.scanner import scan_folder


@pytest.fixture
def packed(colours, tmp_path):
    """The colours as a release for the engine that reads safetensors."""
    spec = spec_of(serve={"engine": "transformers"})
    inputs = {name: colours.out[name] for name in ("data", "train", "compress")}
    job = FakeJob(dict(package.params(spec)), inputs, tmp_path, tmp_path / "release")
    package.run(job)
    return job


def test_safetensors_ship_in_shards_that_the_server_reads(colours, packed):
    names = {path.name for path in (packed.out / "model").iterdir()}
    assert INDEX in names and "model.safetensors" not in names and "tokenizer.json" in names
    trained, shipped = (TorchBackend(folder) for folder in (colours.out["train"], packed.out / "model"))
    assert np.array_equal(trained.logits([1, 2, 3, 4]), shipped.logits([1, 2, 3, 4]))


def test_shards_that_are_canonical_already_are_links_to_the_same_bytes(colours, packed):
    where = json.loads((packed.out / "model" / INDEX).read_text())["weight_map"]
    for name in set(where.values()):
        assert (packed.out / "model" / name).samefile(colours.out["train"] / name)


def test_an_onnx_model_ships_as_links(colours, tmp_path):
    inputs = {name: colours.out[name] for name in ("data", "train", "compress")}
    job = FakeJob(dict(package.params(colours.spec)), inputs, tmp_path, tmp_path / "release")
    package.run(job)
    for path in colours.out["compress"].rglob("*"):
        if path.is_file():
            assert (job.out / "model" / path.relative_to(colours.out["compress"])).samefile(path)


def test_a_classifier_ships_with_its_classes_its_threshold_and_its_task(intents, tmp_path):
    inputs = {name: intents.out[name] for name in ("data", "train", "compress")}
    job = FakeJob(dict(package.params(intents.spec)), inputs, tmp_path, tmp_path / "release")
    package.run(job)
    assert json.loads((job.out / "serve.json").read_text())["task"] == "classify"
    names = {path.name for path in (job.out / "model").iterdir()}
    assert names == {"classifier.json", "model.onnx", "tokenizer.json", "tokenizer_config.json"}
    assert scan_folder(job.out).unsafe == ()


def test_what_training_leaves_for_people_does_not_ship(colours, packed):
    assert (colours.out["train"] / "report.html").is_file()
    assert not (packed.out / "model" / "report.html").exists() and not (packed.out / "model" / "adapter").exists()
