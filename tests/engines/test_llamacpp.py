"""The engine llamacpp is data: the command line of a server that is none of ours holds all that a release promises."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest

from guideway.core.errors import SpecError, Unavailable
from guideway.core.launch import Launch
from guideway.core.release import Decoding, ServeSettings
from guideway.engines import engine, llamacpp


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on $PATH, and alone there, with a program that says which version it is."""
    folder = tmp_path / "bin"
    folder.mkdir()
    server = folder / "llama-server"
    server.write_text("#!/bin/sh\necho 'version: 7123 (0a1b2c3d)' >&2\necho 'built with some compiler' >&2\n")
    server.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    return folder


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """The folder of a release, as far as the engine looks into it."""
    (tmp_path / "release" / "model").mkdir(parents=True)
    model = tmp_path / "release" / "model"
    (model / "config.json").write_text(json.dumps({"max_position_embeddings": 512}))
    added = [{"content": "<|end|>", "special": True}, {"content": "naïve", "special": False}]
    (model / "tokenizer.json").write_text(json.dumps({"added_tokens": added}))
    return tmp_path / "release"


def settings(task: str = "chat", **more: object) -> ServeSettings:
    return ServeSettings(name="helper", task=task, engine="llamacpp", **more)  # type: ignore[arg-type]


def launch(release: Path, given: ServeSettings | None = None) -> Launch:
    return engine("llamacpp").launch(release, given or settings(), port=4321, threads=2)


def after(made: Launch, flag: str) -> list[str]:
    """What follows *flag* on the command line, each time that it is there."""
    return [value for word, value in pairwise(made.argv) if word == flag]


def test_the_program_on_the_path_serves_the_model_to_this_machine_alone(programs: Path, release: Path) -> None:
    made = launch(release)
    assert made.argv[0] == str(programs / "llama-server")
    assert after(made, "--model") == [str(release / "model" / "model.gguf")]
    assert (after(made, "--host"), after(made, "--port"), made.port) == (["127.0.0.1"], ["4321"], 4321)
    assert after(made, "--threads") == after(made, "--threads-batch") == ["2"]
    assert after(made, "--alias") == ["helper"]
    assert (engine("llamacpp").name, engine("llamacpp").format) == ("llamacpp", "gguf")


@pytest.mark.usefixtures("programs")
def test_every_slot_has_room_for_the_whole_context(release: Path) -> None:
    made = launch(release)
    (slots,) = after(made, "--parallel")
    assert after(made, "--ctx-size") == [str(int(slots) * 512)]
    assert "--no-kv-unified" in made.argv and "--no-context-shift" in made.argv


@pytest.mark.usefixtures("programs")
def test_what_callers_write_is_kept_for_nobody_and_nothing_comes_from_elsewhere(release: Path) -> None:
    made = launch(release)
    assert {"--no-cache-prompt", "--no-slots", "--no-webui", "--offline", "--metrics"} <= set(made.argv)
    assert after(made, "--cache-ram") == ["0"] and after(made, "--cors-origins") == ["localhost"]


@pytest.mark.usefixtures("programs")
def test_settings_in_the_environment_stay_behind_and_so_do_fields_that_the_gateway_cannot_read(release: Path) -> None:
    made = launch(release)
    assert "LLAMA_ARG_TOOLS".startswith(made.sheds) and "HF_TOKEN".startswith(made.sheds)
    assert not "LD_LIBRARY_PATH".startswith(made.sheds)
    assert {"messages", "max_tokens", "stream_options"} <= set(made.terms.fields)
    assert not {"cache_prompt", "id_slot", "n_predict", "n_cmpl", "lora", "chat_parser"} & set(made.terms.fields)


@pytest.mark.usefixtures("programs")
def test_the_gateway_is_told_which_marks_the_server_would_obey_in_a_conversation(release: Path) -> None:
    assert launch(release).terms.marks == ("<|end|>",)


@pytest.mark.usefixtures("programs")
def test_where_a_request_says_nothing_the_release_does(release: Path) -> None:
    said = Decoding(temperature=0.5, top_p=0.9, top_k=7, max_tokens=33, stop=("\n\n", "END"), seed=5)
    made = launch(release, settings(decoding=said))
    flags = ("--temp", "--top-p", "--top-k", "--min-p", "--predict", "--seed")
    assert [after(made, flag) for flag in flags] == [["0.5"], ["0.9"], ["7"], ["0"], ["33"], ["5"]]
    assert after(made, "--reverse-prompt") == ["\n\n", "END"] and "--no-escape" in made.argv
    assert after(launch(release), "--seed") == ["-1"]


@pytest.mark.usefixtures("programs")
def test_the_template_of_the_release_goes_before_that_of_the_model(release: Path) -> None:
    assert after(launch(release, settings(template="{{ 1 }}")), "--chat-template") == ["{{ 1 }}"]
    assert "--chat-template" not in launch(release).argv and "--jinja" in launch(release).argv


@pytest.mark.usefixtures("programs")
@pytest.mark.parametrize(("task", "path"), [("chat", "/v1/chat/completions"), ("completion", "/v1/completions")])
def test_it_is_ready_when_it_generates_a_token(release: Path, task: str, path: str) -> None:
    probe = launch(release, settings(task)).probe
    assert (probe.path, probe.proves, json.loads(probe.body)["max_tokens"]) == (path, "token", 1)


@pytest.mark.usefixtures("programs")
def test_it_serves_no_classifier(release: Path) -> None:
    with pytest.raises(SpecError, match=r"serves no classifier \(engine: onnx\)"):
        launch(release, settings("classify"))


def test_without_the_program_one_line_says_what_to_install(release: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(release))
    with pytest.raises(Unavailable, match="needs llama-server, which is not on") as caught:
        launch(release)
    assert "install llama.cpp" in str(caught.value) and "\n" not in str(caught.value)
    assert llamacpp.version() == ""


@pytest.mark.usefixtures("programs")
def test_the_version_is_what_the_program_says() -> None:
    assert llamacpp.version() == "7123-0a1b2c3d"


def test_a_program_that_says_no_version_has_an_unknown_one(programs: Path) -> None:
    (programs / "llama-server").write_text("#!/bin/sh\necho hello\n")
    assert llamacpp.version() == "unknown"
