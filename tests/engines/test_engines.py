"""Engines are data: what they launch is compared as a value."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from guideway.core.errors import SpecError
from guideway.core.launch import Launch
from guideway.core.protocols import Engine
from guideway.core.release import ServeSettings
from guideway.engines import engine, openvino

SETTINGS = ServeSettings(name="helper", task="chat", engine="onnx")
FOLDER = Path("/releases/1")
OWN = ("onnx", "openvino", "transformers")
"""Engines on our own model server."""


def launch(name: str, settings: ServeSettings = SETTINGS) -> Launch:
    return engine(name).launch(FOLDER, settings, port=4321, threads=2)


@pytest.mark.parametrize("name", OWN)
def test_an_engine_starts_the_server_of_its_name(name: str) -> None:
    made = launch(name)
    module = f"guideway.replica.serve_{name}"
    arguments = ("--release", "/releases/1", "--port", "4321", "--threads", "2")
    assert made.argv == (sys.executable, "-m", module, *arguments)
    assert (made.port, made.preload) == (4321, module)


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("onnx", "onnx"),
        ("openvino", "openvino"),
        ("transformers", "safetensors"),
        ("llamacpp", "gguf"),
        ("vllm", "compressed-tensors"),
    ],
)
def test_an_engine_says_which_format_it_serves(name: str, format: str) -> None:
    assert (engine(name).name, engine(name).format) == (name, format)


def test_the_servers_that_our_own_engines_name_exist() -> None:
    for name in OWN:
        module = launch(name).preload
        assert module is not None
        assert (
            (Path(sys.modules["guideway"].__path__[0]) / "/".join(module.split(".")[1:])).with_suffix(".py").is_file()
        )


@pytest.mark.parametrize(
    ("task", "path", "field"),
    [("chat", "/v1/chat/completions", "messages"), ("completion", "/v1/completions", "prompt")],
)
def test_ready_means_one_token_of_the_kind_that_the_model_is_for(task: str, path: str, field: str) -> None:
    probe = launch("onnx", ServeSettings(name="helper", task=task, engine="onnx")).probe
    asked = json.loads(probe.body)
    assert probe.path == path
    assert (asked["model"], asked["max_tokens"]) == ("helper", 1)
    assert asked[field]


def test_a_classifier_has_a_server_of_its_own_and_is_ready_when_it_names_a_class() -> None:
    made = launch("onnx", ServeSettings(name="helper", task="classify", engine="onnx"))
    assert made.preload == "guideway.replica.serve_classifier"
    assert (made.probe.path, made.probe.proves) == ("/v2/models/helper/infer", "class")
    assert [one["name"] for one in json.loads(made.probe.body)["inputs"]] == ["text"]


@pytest.mark.parametrize("name", OWN)
def test_no_engine_reports_to_anyone_or_imports_from_where_it_stands(name: str) -> None:
    env = dict(launch(name).env)
    quiet = {"onnx": "ORT_DISABLE_TELEMETRY", "openvino": "DO_NOT_TRACK", "transformers": "HF_HUB_DISABLE_TELEMETRY"}
    assert env[quiet[name]] == "1"
    assert env["PYTHONSAFEPATH"] == "1"


def test_the_same_question_gives_the_same_launch() -> None:
    assert launch("onnx") == launch("onnx")


@pytest.mark.parametrize(("name", "advice"), [("onx", "did you mean 'onnx'"), ("zzz", "known: ")])
def test_an_unknown_engine_is_an_error_with_advice(name: str, advice: str) -> None:
    with pytest.raises(SpecError, match=f"no engine called '{name}'") as caught:
        engine(name)
    assert advice in str(caught.value)


def test_openvino_says_where_it_is_missing_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guideway.engines.openvino.find_spec", lambda _name: None)
    with pytest.raises(SpecError, match="the engine openvino needs OpenVINO, which is not installed") as refused:
        openvino.installed()
    assert "pip install 'guideway[openvino]'" in str(refused.value)
    monkeypatch.setattr("guideway.engines.openvino.find_spec", lambda name: name)
    openvino.installed()


class Outsider:
    """An engine that somebody else wrote."""

    name, format = "outsider", "gguf"

    def launch(self, folder: Path, settings: ServeSettings, *, port: int, threads: int) -> Launch:
        raise NotImplementedError


def test_an_outsider_is_found_by_its_entry_point_and_loaded_only_when_named(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []

    class Entry:
        def load(self) -> Engine:
            loaded.append("outsider")
            return Outsider()

    def entries(*, group: str, name: str) -> list[Entry]:
        return [Entry()] if (group, name) == ("guideway.engines", "outsider") else []

    monkeypatch.setattr("guideway.engines.entry_points", entries)
    engine("onnx")
    assert not loaded
    assert engine("outsider").format == "gguf"
    assert loaded == ["outsider"]


def test_naming_an_engine_loads_no_model_library() -> None:
    code = (
        "import sys; from guideway.engines import engine, ENGINES; [engine(name) for name in ENGINES]\n"
        "heavy = ('torch', 'transformers', 'onnxruntime', 'openvino', 'numpy', 'guideway.replica')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
