"""The engine that serves decides what is exported, and an export is read again by the format that it has."""

from __future__ import annotations

from pathlib import Path

import pytest
from stage_rig import colour_spec, spec_of

from guideway.core.errors import SpecError
from guideway.pipeline.plan import environment_of, libraries_of
from guideway.pipeline.stages import compress, evaluate, package
from guideway.pipeline.stages.formats import FORMATS, check_precision, format_in, format_of, open_backend, open_scorer
from guideway.replica.onnx_backend import OnnxBackend
from guideway.replica.score import OnnxScorer


@pytest.mark.parametrize(("name", "made"), [("onnx", "onnx"), ("openvino", "openvino")])
def test_an_engine_gets_the_export_that_it_serves(name, made):
    spec = colour_spec(serve={"engine": name})
    assert compress.params(spec)["format"] == made and package.shipped(spec) == "compress"


def test_openvino_is_made_and_read_in_an_environment_of_its_own():
    spec = colour_spec(serve={"engine": "openvino"})
    locked = environment_of(compress, spec)
    assert locked is not None and environment_of(evaluate, spec) == locked
    pins = [line for line in locked.read_text(encoding="utf-8").splitlines() if "==" in line]
    assert any(line.startswith("optimum-intel==") for line in pins)
    assert not any("telemetry" in line for line in pins)


class Strange:
    """An engine of somebody else."""

    name, format = "strange", "strange-weights"


@pytest.fixture
def strange(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guideway.pipeline.stages.formats.engine", lambda name: Strange())


def test_an_engine_of_what_was_trained_is_compared_with_an_export_that_does_not_ship():
    spec = spec_of(serve={"engine": "transformers"})
    assert format_of(spec).name == "onnx" and package.shipped(spec) == "train"
    assert package.shipped(spec_of(serve={"engine": "onnx"})) == "compress"


@pytest.mark.usefixtures("strange")
def test_a_format_that_nothing_makes_is_refused_with_those_that_are():
    with pytest.raises(SpecError, match="the engine onnx serves 'strange-weights', which no stage makes") as refused:
        format_of(colour_spec())
    assert "onnx" in str(refused.value) and "safetensors" in str(refused.value)


def test_a_precision_that_the_format_cannot_have_is_refused(monkeypatch):
    monkeypatch.setattr(FORMATS["onnx"], "precisions", ("fp32", "int8"))
    check_precision(colour_spec(compress={"precision": "int8"}))
    for asked in ({"precision": "int4"}, {"precision": "auto"}):
        with pytest.raises(SpecError, match="the engine onnx serves no int4"):
            check_precision(colour_spec(compress=asked))


def test_an_export_is_known_by_its_files(colours):
    folder = colours.out["compress"]
    made = format_in(folder)
    assert made is not None and made.name == "onnx" and format_in(colours.out["train"]) is None
    assert isinstance(open_scorer(folder, 1), OnnxScorer) and isinstance(open_backend(folder, 1, 1), OnnxBackend)


@pytest.mark.parametrize("read", [lambda folder: open_scorer(folder, 1), lambda folder: open_backend(folder, 1, 1)])
def test_where_there_is_no_export_none_is_read(colours, read):
    with pytest.raises(SpecError, match="no export"):
        read(colours.out["train"])


def test_a_format_that_another_server_serves_has_no_backend(colours, monkeypatch):
    monkeypatch.delattr(FORMATS["onnx"], "backend")
    with pytest.raises(SpecError, match="this is onnx, which our own server does not read"):
        open_backend(colours.out["compress"], 1, 1)


def test_environment_and_libraries_of_a_stage_follow_the_format(monkeypatch):
    spec, locked = colour_spec(), Path("/locked.txt")
    assert environment_of(compress, spec) is None and libraries_of(compress, spec) == compress.libraries
    monkeypatch.setattr(FORMATS["onnx"], "environment", locked)
    monkeypatch.setattr(FORMATS["onnx"], "libraries", ("maker",))
    assert environment_of(compress, spec) == locked and libraries_of(compress, spec)[-1] == "maker"
