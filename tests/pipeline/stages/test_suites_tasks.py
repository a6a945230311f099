"""Tasks are data: what is a program, lies elsewhere or is not pinned is refused when the spec is checked."""

from __future__ import annotations

import json

import msgspec
import pytest
from stage_rig import colour_spec, spec_of
from suites_rig import ANSWER, CHOICE, write_tasks

from guideway.core.errors import SpecError
from guideway.core.spec.suites import Suite
from guideway.pipeline.stages import stages_for, suites
from guideway.pipeline.stages.suites.tasks import tasks_of

PINNED = {"dataset_path": "owner/facts", "dataset_kwargs": {"revision": "a" * 40}}


def read(root, *tasks, **suite):
    write_tasks(root, *tasks)
    return tasks_of(Suite(tasks="tasks", **suite), root)


def test_a_task_names_its_files_from_its_own_folder_and_they_are_part_of_the_key(tmp_path):
    (task, other) = read(tmp_path, CHOICE, ANSWER)
    rows = tmp_path / "tasks" / "rows.jsonl"
    assert other.config["dataset_kwargs"]["data_files"] == {"test": [str(rows)]} and other.name == "colours-choice"
    assert task.files == (tmp_path / "tasks" / "colours-answer.yaml", rows)
    spec = colour_spec(evaluate={"suites": [{"tasks": "tasks"}]})
    assert set(suites.sources(spec, tmp_path)) == {rows, *(tmp_path / "tasks").glob("*.yaml")}


def test_a_task_that_brings_a_program_is_refused_with_its_file(tmp_path):
    read(tmp_path, CHOICE)
    (tmp_path / "tasks" / "evil.yaml").write_text("task: evil\nprocess_docs: !function evil.run\n")
    (tmp_path / "tasks" / "evil.py").write_text("raise SystemExit('it ran')\n")
    with pytest.raises(SpecError, match="brings a program is not run") as refused:
        tasks_of(Suite(tasks="tasks"), tmp_path)
    assert refused.value.where == "tasks/evil.yaml" and "templates" in (refused.value.try_this or "")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"process_docs": "x"}, "no key 'process_docs'"),
        ({"include": "other.yaml"}, "no key 'include'"),
        ({"unsafe_code": True}, "no key 'unsafe_code'"),
        ({"custom_dataset": "x"}, "no key 'custom_dataset'"),
        ({"class": "x"}, "no key 'class'"),
        ({"task": ["a", "b"]}, "a task has a name"),
        ({"task": "../up"}, "a task has a name"),
        ({"metric_list": [{"metric": "owner/metric"}]}, "no metric 'owner/metric' is computed here"),
        ({"metric_list": [{"metric": "acc", "hf_evaluate": True}]}, "no metric 'acc' is computed here"),
        ({"metric_list": ["acc"]}, "no metric 'None' is computed here"),
        ({"dataset_kwargs": {"data_files": "/etc/hostname"}}, "there is no file '/etc/hostname' here"),
        ({"dataset_kwargs": {"data_files": "../../rows.jsonl"}}, "there is no file"),
        ({"dataset_kwargs": {"data_files": "https://host/rows.jsonl"}}, "there is no file 'https"),
        ({"dataset_kwargs": {"data_files": "rows.jsonl", "trust_remote_code": True}}, "names its files under"),
        ({"dataset_kwargs": None}, "names its files under"),
        ({"dataset_path": "truthful_qa"}, "'truthful_qa' is no local data"),
        (PINNED, "'owner/facts' is no local data"),
    ],
)
def test_what_is_no_data_of_ours_is_one_clear_line(tmp_path, change, told):
    write_tasks(tmp_path, CHOICE)
    (tmp_path / "tasks" / "colours-choice.yaml").write_text(json.dumps({**CHOICE, **change}))
    with pytest.raises(SpecError, match=told) as refused:
        tasks_of(Suite(tasks="tasks"), tmp_path)
    assert refused.value.where == "tasks/colours-choice.yaml" and "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ["task: [", "- a\n- b\n", "task: !!python/object/apply:os.system [ls]\n", "\x00"])
def test_what_is_no_yaml_of_a_task_is_one_clear_line(tmp_path, text):
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "a.yaml").write_text(text)
    with pytest.raises(SpecError) as refused:
        tasks_of(Suite(tasks="tasks"), tmp_path)
    assert refused.value.where == "tasks/a.yaml" and "\n" not in str(refused.value)


def test_a_data_set_of_the_hub_is_taken_where_it_is_asked_for_and_only_at_a_commit(tmp_path):
    (task,) = read(tmp_path, {**CHOICE, **PINNED}, hub=True)
    assert task.config["dataset_kwargs"] == {"revision": "a" * 40} and len(task.files) == 1
    for loose in ({"revision": "main"}, {}, {"revision": "a" * 40, "trust_remote_code": True}):
        with pytest.raises(SpecError, match="with its commit"):
            read(tmp_path, {**CHOICE, **PINNED, "dataset_kwargs": loose}, hub=True)


@pytest.mark.parametrize(
    "file", ["/etc/passwd", "../../rows.json", "a/../../b", "https://elsewhere/rows.json", "zip://x::a", "~/rows.json"]
)
def test_a_data_set_of_the_hub_has_no_files_of_other_places(tmp_path, file):
    fixed = {"revision": "a" * 40, "data_files": {"test": ["rows/test.json", file]}}
    with pytest.raises(SpecError, match="is no file of the data set"):
        read(tmp_path, {**CHOICE, **PINNED, "dataset_kwargs": fixed}, hub=True)
    fixed["data_files"]["test"].pop()
    (task,) = read(tmp_path, {**CHOICE, **PINNED, "dataset_kwargs": fixed}, hub=True)
    assert task.config["dataset_kwargs"] == fixed


def test_two_tasks_of_one_name_and_a_folder_without_any_are_refused(tmp_path):
    with pytest.raises(SpecError, match="no folder 'tasks'"):
        tasks_of(Suite(tasks="tasks"), tmp_path)
    write_tasks(tmp_path)
    with pytest.raises(SpecError, match="no task in 'tasks'"):
        tasks_of(Suite(tasks="tasks"), tmp_path)
    write_tasks(tmp_path, CHOICE)
    (tmp_path / "tasks" / "z.yml").write_text(json.dumps(CHOICE))
    with pytest.raises(SpecError, match="two tasks called 'colours-choice'") as refused:
        tasks_of(Suite(tasks="tasks"), tmp_path)
    assert refused.value.where == "tasks/z.yml"


def test_only_a_spec_that_names_suites_has_the_stage_which_has_an_environment_of_its_own():
    spec = colour_spec(evaluate={"suites": [{"tasks": "tasks"}]})
    assert "suites" in stages_for(spec) and "suites" not in stages_for(spec_of())
    assert "suites" not in stages_for(msgspec.structs.replace(spec, task="classify"))
    locked = [line for line in suites.environment.read_text().splitlines() if "==" in line]
    assert any(line.startswith("lm-eval==") for line in locked)
