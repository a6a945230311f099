"""vLLM is started by the host's own interpreter, with flags that keep the release's word; nothing is installed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from guideway.core.errors import GuidewayError, SpecError, Unavailable
from guideway.core.launch import Launch
from guideway.core.release import ServeSettings
from guideway.engines import engine

SETTINGS = ServeSettings(name="helper", task="chat", engine="vllm")


@pytest.fixture(autouse=True)
def host(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host whose vLLM lies with the interpreter of these tests."""
    monkeypatch.setenv("GUIDEWAY_VLLM", sys.executable)
    monkeypatch.delenv("GUIDEWAY_VLLM_FLAGS", raising=False)
    monkeypatch.delenv("VLLM_CPU_KVCACHE_SPACE", raising=False)


@pytest.fixture
def release(tmp_path: Path) -> Path:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "precision.json").write_text('{"precision": "w8a8", "dtype": "bfloat16"}')
    return tmp_path


def launch(folder: Path, settings: ServeSettings = SETTINGS) -> Launch:
    return engine("vllm").launch(folder, settings, port=4321, threads=2)


def valued(made: Launch) -> dict[str, str]:
    """Every flag with what stands behind it."""
    return {flag: value for flag, value in zip(made.argv, (*made.argv[1:], ""), strict=True) if flag.startswith("--")}


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--host", "127.0.0.1"),
        ("--port", "4321"),
        ("--served-model-name", "helper"),
        ("--dtype", "bfloat16"),
        ("--load-format", "safetensors"),
        ("--generation-config", "vllm"),
        ("--middleware", "guideway_face.Face"),
    ],
)
def test_the_server_is_told_what_the_release_says_and_where_to_listen(release, flag, value):
    assert valued(launch(release))[flag] == value


@pytest.mark.parametrize(
    "flag",
    [
        "--no-trust-remote-code",
        "--no-enable-prefix-caching",
        "--no-enable-log-requests",
        "--disable-uvicorn-access-log",
    ],
)
def test_what_could_run_foreign_code_or_tell_callers_of_each_other_is_off(release, flag):
    assert flag in launch(release).argv


def test_the_server_runs_by_the_interpreter_of_the_host_and_is_never_forked_from_ours(release):
    made = launch(release)
    assert made.argv[:3] == (sys.executable, "-m", "vllm.entrypoints.openai.api_server")
    assert made.argv[made.argv.index("--model") + 1] == str(release / "model")
    assert made.preload is None


def test_a_template_of_the_release_goes_with_it_and_the_tokenizers_own_needs_no_flag(release):
    assert "--chat-template" not in launch(release).argv
    template = "{% for turn in messages %}{{ turn.content }}。\n{% endfor %}"
    settings = ServeSettings(name="helper", task="chat", engine="vllm", template=template)
    assert valued(launch(release, settings))["--chat-template"] == template


@pytest.mark.parametrize(("task", "path"), [("chat", "/v1/chat/completions"), ("completion", "/v1/completions")])
def test_ready_means_one_token(release, task, path):
    probe = launch(release, ServeSettings(name="helper", task=task, engine="vllm")).probe
    assert (probe.path, json.loads(probe.body)["max_tokens"], probe.proves) == (path, 1, "token")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("VLLM_NO_USAGE_STATS", "1"),
        ("DO_NOT_TRACK", "1"),
        ("HF_HUB_OFFLINE", "1"),
        ("VLLM_PLUGINS", ""),
        ("VLLM_SERVER_DEV_MODE", "0"),
        ("GUIDEWAY_STATE", ""),
        ("PYTHONSAFEPATH", "1"),
        ("OMP_NUM_THREADS", "2"),
        ("VLLM_CPU_KVCACHE_SPACE", "1"),
    ],
)
def test_the_process_reports_to_nobody_and_reads_no_secret_of_ours(release, name, value):
    assert dict(launch(release).env)[name] == value


def test_only_the_folder_of_the_face_is_put_before_what_the_interpreter_has(release):
    folder = Path(dict(launch(release).env)["PYTHONPATH"])
    assert sorted(one.name for one in folder.glob("*.py")) == ["__init__.py", "guideway_face.py"]


def test_the_host_says_how_large_it_is_and_nothing_else(release, monkeypatch):
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "40")
    monkeypatch.setenv("GUIDEWAY_VLLM_FLAGS", "--tensor-parallel-size 2 --enforce-eager")
    made = launch(release)
    assert dict(made.env)["VLLM_CPU_KVCACHE_SPACE"] == "40"
    assert made.argv[-3:] == ("--tensor-parallel-size", "2", "--enforce-eager")


@pytest.mark.parametrize("flags", ["--trust-remote-code", "--host=0.0.0.0", "--max-num-seqs 4 --middleware x.Y"])
def test_a_flag_that_is_none_of_the_hosts_is_refused(release, monkeypatch, flags):
    monkeypatch.setenv("GUIDEWAY_VLLM_FLAGS", flags)
    with pytest.raises(SpecError, match=r"GUIDEWAY_VLLM_FLAGS: '--\S+' is no flag of the host"):
        launch(release)


def test_flags_that_are_no_shell_words_are_refused(release, monkeypatch):
    monkeypatch.setenv("GUIDEWAY_VLLM_FLAGS", "--max-num-seqs '4")
    with pytest.raises(SpecError, match="GUIDEWAY_VLLM_FLAGS"):
        launch(release)


def test_without_vllm_one_line_says_what_to_install(release, monkeypatch):
    monkeypatch.setenv("GUIDEWAY_VLLM", "")
    with pytest.raises(Unavailable, match=r"needs vLLM, which is not installed here.*GUIDEWAY_VLLM=VENV/bin/python"):
        launch(release)


@pytest.mark.parametrize("named", ["/nowhere/bin/python", "/"])
def test_an_interpreter_that_is_none_is_refused_by_name(release, monkeypatch, named):
    monkeypatch.setenv("GUIDEWAY_VLLM", named)
    with pytest.raises(Unavailable, match=f"'{named}' is no interpreter"):
        launch(release)


def test_a_model_of_another_format_is_refused_before_anything_starts(release):
    (release / "model" / "precision.json").unlink()
    with pytest.raises(GuidewayError, match="this model was not made for vLLM"):
        launch(release)
