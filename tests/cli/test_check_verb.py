"""``guideway check``: what contradicts itself, and files that are missing, are one line with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from guideway.cli.check import sound
from guideway.core.errors import SpecError
from guideway.core.spec import load

HEAD = "guideway: 1\nname: small\ndata: {sources: [{path: a.jsonl}]}\n"
GUARD = "rollout:\n  guards:\n    - {name: heat, prometheus: https://x, query: up, at_most: 1, %s: secrets/file}\n"


def write(folder: Path, text: str) -> Path:
    """A spec whose fourth line is the first of *text*."""
    path = folder / "guideway.yaml"
    path.write_text(HEAD + text, encoding="utf-8")
    return path


def refused(folder: Path, text: str, environment: str = "dev") -> str:
    file = load(write(folder, text), environment, {})
    with pytest.raises(SpecError) as caught:
        sound(file)
    return str(caught.value)


def test_a_signal_that_is_required_twice_is_refused(tmp_path):
    text = "rollout:\n  require:\n    - {signal: errors}\n    - {signal: errors, margin: 3.0}\n"
    assert refused(tmp_path, text).startswith("guideway.yaml:7: 'errors' is required twice")


@pytest.mark.parametrize("key", ["token_file", "ca_file"])
def test_a_guard_whose_file_is_missing_is_refused(tmp_path, key):
    said = refused(tmp_path, GUARD % key)
    assert said.startswith(f"guideway.yaml:6: guard 'heat': the {key} secrets/file cannot be read (its path begins at ")
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "file").write_text("t0ken")
    sound(load(tmp_path / "guideway.yaml", "dev", {}))


def test_corrections_that_cannot_be_read_are_refused(tmp_path):
    text = "gateway:\n  corrections: fixes.jsonl\n"
    assert refused(tmp_path, text).startswith("guideway.yaml:5: fixes.jsonl cannot be read: No such file")
    (tmp_path / "fixes.jsonl").write_text("\n{}\n")
    assert refused(tmp_path, text).startswith(
        "fixes.jsonl: no correction: line 2: Object missing required field `name`"
    )
    (tmp_path / "fixes.jsonl").write_text(
        '{"name": "a", "on": "answer", "exact": "x", "answer": "y", "author": "ann", "reason": "x is wrong",'
        ' "expires": "2099-12-31"}'
    )
    sound(load(tmp_path / "guideway.yaml", "dev", {}))


OVERLAY = "environments:\n  prod:\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("replicas: 9\nscale: {min: 1, max: 4}\n", "4: 9 replicas contradict scale, which allows 1 to 4"),
        (f"scale: {{min: 3}}\n{OVERLAY}    replicas: 2\n", "7: 2 replicas contradict scale, which allows 3 to 4"),
        (f"{OVERLAY}    replicas: 2\n    scale: {{min: 3}}\n", "6: 2 replicas contradict scale"),
    ],
)
def test_a_number_of_replicas_that_scale_does_not_allow_is_refused(tmp_path, text, says):
    assert refused(tmp_path, text, "prod" if OVERLAY in text else "dev").startswith(f"guideway.yaml:{says}")


@pytest.mark.parametrize(
    "text",
    [
        f"replicas: 3\nscale: {{min: 1, max: 4}}\n{OVERLAY}    target: local\n",
        f"scale: {{min: 3}}\n{OVERLAY}    target: local\n",
        f"replicas: 2\n{OVERLAY}    scale: {{min: 3}}\n",
    ],
)
def test_one_to_begin_with_a_default_and_one_of_another_environment_are_no_contradiction(tmp_path, text):
    sound(load(write(tmp_path, text), "prod", {}))


@pytest.mark.parametrize("verb", ["check", "up"])
def test_check_and_up_say_so_before_anything_else(project, verb):
    path = project.folder / "guideway.yaml"
    path.write_text(path.read_text() + "rollout: {require: [{signal: errors}, {signal: errors}]}\n")
    said = project(verb)
    assert said.returncode == 2 and "'errors' is required twice" in said.stderr and not said.stdout


def test_up_refuses_an_engine_that_no_replica_could_be_started_with_before_it_builds(project):
    path = project.folder / "guideway.yaml"
    text = path.read_text()
    path.write_text(text.replace("engine: onnx", "engine: vllm").replace("precision: int8", "precision: fp32"))
    assert "vllm" in path.read_text()
    said = project("up", GUIDEWAY_VLLM=str(project.folder / "no-such-python"))
    assert said.returncode == 5 and "is no interpreter" in said.stderr and not said.stdout


@pytest.mark.parametrize("content", ["", "\n  \n"])
def test_a_source_without_a_row_is_told_by_check_and_not_by_the_build_alone(project, content):
    (project.folder / "data" / "questions.jsonl").write_text(content)
    said = project("check")
    assert said.returncode == 2 and not said.stdout
    assert "guideway.yaml:8: there are no rows in data/questions.jsonl" in said.stderr


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        (
            '{"question": "x", "answer": "y"}\n{"question": "z"}\n',
            "none of 2 rows can be used: data/questions.jsonl:1: no field",
        ),
        ('{"prompt": " ", "response": ""}\n', "every row is empty"),
        ("no json\n", "the only row cannot be used: data/questions.jsonl:1: "),
    ],
)
def test_rows_none_of_which_can_be_used_are_told_by_check(project, rows, why):
    (project.folder / "data" / "questions.jsonl").write_text(rows)
    said = project("check")
    assert said.returncode == 2 and not said.stdout
    assert f"guideway.yaml:8: {why}" in said.stderr
    (project.folder / "data" / "questions.jsonl").write_text(rows + '{"prompt": "a", "response": "b"}\n')
    assert project("check").returncode == 0


def test_a_base_that_is_a_release_which_is_not_here_is_told_by_check(project):
    path = project.folder / "guideway.yaml"
    lines = path.read_text().splitlines()
    at = next(number for number, line in enumerate(lines) if "recipe: scratch" in line)
    lines[at : at + 1] = ["  recipe: full", "  base: release:my-model@sha256:" + "a" * 64]
    path.write_text("\n".join(lines))
    for verb in ("check", "plan"):
        said = project(verb)
        assert said.returncode == 2 and not said.stdout
        assert f"guideway.yaml:{at + 2}: there is no release 'my-model' with this digest here" in said.stderr
