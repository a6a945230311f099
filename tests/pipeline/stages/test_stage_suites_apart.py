"""Stage suites in its own environment: the real lm-eval asks the model that ships."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from stage_rig import colour_spec, write_jsonl
from suites_rig import ANSWER, CHOICE, TEXT, run_apart, write_tasks

from guideway.pipeline.environment import interpreter_for
from guideway.pipeline.stages import suites
from guideway.pipeline.stages.evaluate.speaker import shipping
from guideway.pipeline.stages.models import losses

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """The interpreter of the stage's environment, which is installed for these tests."""
    folder = tmp_path_factory.mktemp("environments")
    return interpreter_for(suites.environment, folder, folder / "log")


@pytest.fixture
def ask(python, colours, tmp_path):
    """Run the tasks on the shared model: ``ask(*tasks, **keys of the suite)``."""

    def run(*tasks, **more):
        write_tasks(tmp_path, *tasks)
        spec = colour_spec(evaluate={"suites": [{"tasks": "tasks", **more}]})
        inputs = {name: colours.out[name] for name in ("train", "compress")}
        return run_apart(python, spec, tmp_path, tmp_path / "out", **inputs)

    return run


def by_hand(job):
    """The share of rows whose right choice is the likeliest, and whose answer is right, without lm-eval."""
    speaker = shipping(job, 8)
    rows = [json.loads(line) for line in (job.root / "tasks" / "rows.jsonl").read_text().splitlines()]
    chats = [[{"role": "user", "content": row["question"]}] for row in rows]

    def score(chat, choice):
        example = speaker.example({"messages": [*chat, {"role": "assistant", "content": choice}]})
        return -losses(speaker.model, example)[:-1].sum()  # without the end of the answer

    best = [
        int(np.argmax([score(chat, choice) for choice in row["choices"]]))
        for chat, row in zip(chats, rows, strict=True)
    ]
    exact = [said == row["choices"][row["gold"]] for said, row in zip(speaker.answers(chats), rows, strict=True)]
    return float(np.mean([one == row["gold"] for one, row in zip(best, rows, strict=True)])), float(np.mean(exact))


def test_choices_answers_and_texts_are_what_a_hand_finds(ask):
    job = ask(CHOICE, ANSWER, TEXT)
    accuracy, exact = by_hand(job)
    acc = job.one("suite_acc", "compress", "colours-choice")
    assert acc.value == pytest.approx(accuracy) and acc.n == 12 and acc.interval.method == "wilson"
    assert acc.interval.low < acc.value + 1e-9 and acc.interval.high - acc.interval.low > 0.1
    assert job.one("suite_exact_match", "compress", "colours-answer").value == pytest.approx(exact)
    bits = job.one("suite_bits_per_byte", "compress", "colours-text")
    assert job.one("suite_byte_perplexity", "compress", "colours-text").value == pytest.approx(2**bits.value, rel=1e-6)
    assert bits.interval.low < bits.value < bits.interval.high
    report = (job.out / "report.zh.md").read_text()
    assert "colours-choice" in report and "越高越好" in report


def test_a_limit_and_plain_texts(ask):
    job = ask(CHOICE, limit=5, chat=False)
    assert job.one("suite_acc", "compress", "colours-choice").n == 5


def test_a_template_reaches_nothing_but_its_row(ask):
    escape = {**CHOICE, "doc_to_text": "{{ ''.__class__.__mro__[1].__subclasses__() }}"}
    with pytest.raises(AssertionError, match=r"lm-eval cannot run it: .*unsafe.* \| task colours-choice"):
        ask(escape)


@pytest.mark.parametrize(
    ("key", "template"),
    [
        ("doc_to_text", "{{ cycler.__init__.__globals__.os.popen('id').read() }}"),
        ("doc_to_text", "{{ '{0.__class__}'.format(question) }}"),
        ("doc_to_target", "{{ question | attr('__class__') }}"),
        ("doc_to_choice", "{{ [question.__class__.__mro__] }}"),
        ("description", "{{ self.__init__.__globals__ }}"),
        ("doc_to_choice", "{{ '[__import__(\"os\").getpid()]' }}"),
    ],
)
def test_no_template_of_a_task_leads_out_of_its_row(ask, key, template):
    with pytest.raises(
        AssertionError, match=r"lm-eval cannot run it: .*(unsafe|undefined|malformed).* \| task colours"
    ):
        ask({**CHOICE, key: template})


def test_a_column_of_pictures_opens_no_file_and_saves_none(ask, python, tmp_path):
    """A cell of such a column may name any file of this machine, and what is read of it can write others."""
    picture, copy = tmp_path / "secret.png", tmp_path / "copy.png"
    program = (
        "import sys, datasets, PIL.Image\n"
        "PIL.Image.new('RGB', (1, 1)).save(sys.argv[1])\n"
        "of = datasets.Features({'picture': datasets.Image(), 'choices': datasets.List(datasets.Value('string'))})\n"
        "rows = {'picture': [sys.argv[1]], 'choices': [['a', 'b']]}\n"
        "datasets.Dataset.from_dict(rows, of).to_parquet(sys.argv[2])\n"
    )
    (tmp_path / "tasks").mkdir()
    rows = tmp_path / "tasks" / "rows.parquet"
    subprocess.run([python, "-c", program, str(picture), str(rows)], check=True)
    saves = f"{{{{ picture.save('{copy}') }}}}"
    data = {"dataset_path": "parquet", "dataset_kwargs": {"data_files": {"test": "rows.parquet"}}}
    with pytest.raises(AssertionError, match=r"lm-eval cannot run it: .* \| task colours-choice"):
        ask({**CHOICE, **data, "doc_to_text": saves, "doc_to_target": 0})
    assert picture.exists() and not copy.exists()


def test_a_template_that_names_no_field_is_one_clear_line(ask):
    with pytest.raises(AssertionError, match=r"lm-eval cannot run it: .*quest.* \| task colours-choice"):
        ask({**CHOICE, "doc_to_text": "{{quest}}"})


@pytest.mark.data
def test_truthfulqa_is_asked_and_its_accuracy_is_what_a_hand_finds(python, colours, tmp_path):
    source = Path(os.environ["GUIDEWAY_TEST_DATA"]) / "truthfulqa" / "mc_task.json"
    found = [(one["question"], one["mc1_targets"]) for one in json.loads(source.read_text(encoding="utf-8"))[:60]]
    rows = [
        {"question": question, "choices": list(targets), "gold": list(targets.values()).index(1)}
        for question, targets in found
    ]
    write_tasks(tmp_path, {**CHOICE, "task": "truthfulqa-mc1"})
    write_jsonl(tmp_path / "tasks" / "rows.jsonl", rows)
    spec = colour_spec(evaluate={"suites": [{"tasks": "tasks"}]})
    inputs = {name: colours.out[name] for name in ("train", "compress")}
    job = run_apart(python, spec, tmp_path, tmp_path / "out", **inputs)
    acc = job.one("suite_acc", "compress", "truthfulqa-mc1")
    assert acc.value == pytest.approx(by_hand(job)[0])
    assert acc.n == 60 and acc.interval.low <= acc.value <= acc.interval.high
