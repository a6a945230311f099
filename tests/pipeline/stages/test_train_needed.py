"""What recipe qlora needs is known before anything runs: a library, a base in full precision, memory."""

from __future__ import annotations

import json
import shutil

import pytest
from stage_rig import colour_spec

from guideway.core.errors import SpecError, Unavailable
from guideway.pipeline.plan import libraries_of
from guideway.pipeline.stages import train, tune
from guideway.pipeline.stages.train.cluster import libraries_of as libraries_on_a_cluster

QLORA = {"recipe": "qlora", "base": "base"}


def test_without_the_library_it_is_one_clear_line(monkeypatch):
    monkeypatch.setattr(train, "find_spec", lambda name: None)
    with pytest.raises(Unavailable, match="recipe 'qlora' needs bitsandbytes, which is not installed") as refused:
        train.check_libraries(colour_spec(train=QLORA).train)
    assert "pip install 'guideway[qlora]'" in refused.value.try_this and refused.value.exit_code == 5
    train.check_libraries(colour_spec(train={**QLORA, "recipe": "lora"}).train)


def test_only_this_recipe_depends_on_the_version_of_the_library():
    for stage in (train, tune):
        assert "bitsandbytes" in libraries_of(stage, colour_spec(train=QLORA))
        assert "bitsandbytes" not in libraries_of(stage, colour_spec(train={**QLORA, "recipe": "lora"}))


def test_every_machine_of_a_cluster_has_the_same_version_of_the_library():
    assert set(libraries_on_a_cluster("qlora")) - set(libraries_on_a_cluster("lora")) == {"bitsandbytes"}


@pytest.fixture
def root(colours, tmp_path):
    """A folder of a spec with a base whose weights are said to be in eight bits already."""
    shutil.copytree(colours.out["train"], tmp_path / "base")
    path = tmp_path / "base" / "config.json"
    config = json.loads(path.read_text()) | {"quantization_config": {"quant_method": "bitsandbytes", "bits": 8}}
    path.write_text(json.dumps(config))
    return tmp_path


@pytest.mark.parametrize("recipe", ["full", "lora", "qlora"])
def test_a_base_that_is_quantised_already_is_refused_before_any_work(root, recipe):
    with pytest.raises(SpecError, match="quantised, and this recipe needs them whole"):
        train.sources(colour_spec(train={**QLORA, "recipe": recipe}), root)


@pytest.mark.parametrize("recipe", ["distill", "import"])
def test_a_teacher_and_an_import_may_be_quantised(root, recipe):
    assert train.sources(colour_spec(train={**QLORA, "recipe": recipe}), root)
