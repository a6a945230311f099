"""Tasks in a folder, and the stage run by the interpreter of its own environment, as a build does."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import msgspec
from stage_rig import COLOURS, PHRASINGS, FakeJob, write_jsonl

from guideway.pipeline.stages import suites
from guideway.pipeline.worker import Broke, JobFile, Measured, Message, Moved, Told

CHOICES = sorted(set(COLOURS.values()))
CHOICE: dict[str, Any] = {
    "task": "colours-choice",
    "dataset_path": "json",
    "dataset_kwargs": {"data_files": {"test": "rows.jsonl"}},
    "test_split": "test",
    "output_type": "multiple_choice",
    "doc_to_text": "{{question}}",
    "doc_to_choice": "choices",
    "doc_to_target": "gold",
    "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
}
ANSWER: dict[str, Any] = {
    **{key: CHOICE[key] for key in ("dataset_path", "dataset_kwargs", "test_split", "doc_to_text")},
    "task": "colours-answer",
    "output_type": "generate_until",
    "doc_to_target": "{{choices[gold]}}",
    "generation_kwargs": {"until": ["\n"], "max_gen_toks": 8},
    "metric_list": [{"metric": "exact_match"}],
}
TEXT: dict[str, Any] = {
    **{key: CHOICE[key] for key in ("dataset_path", "dataset_kwargs", "test_split")},
    "task": "colours-text",
    "output_type": "loglikelihood_rolling",
    "doc_to_text": "",
    "doc_to_target": "{{question}}",
    "metric_list": [{"metric": "byte_perplexity"}, {"metric": "bits_per_byte"}],
}


def write_tasks(root: Path, *tasks: dict[str, Any]) -> None:
    """The *tasks* as YAML (JSON is YAML) in ``tasks``, with a row for every thing in the phrasing that is held out."""
    rows = [
        {"question": PHRASINGS[7].format(thing), "choices": CHOICES, "gold": CHOICES.index(colour)}
        for thing, colour in COLOURS.items()
    ]
    write_jsonl(root / "tasks" / "rows.jsonl", rows)
    for task in tasks:
        (root / "tasks" / f"{task['task']}.yaml").write_text(json.dumps(task))


def run_apart(python: Path, spec: Any, root: Path, out: Path, **inputs: Path) -> FakeJob:
    """Run stage suites by *python*; what it said, as a job that remembers. A failure raises its first line."""
    suites.sources(spec, root)
    job = FakeJob(dict(suites.params(spec)), inputs, root, out)
    asked = JobFile(
        stage="suites",
        module=suites.__name__,
        params=dict(job.params),
        inputs={name: str(path) for name, path in inputs.items()},
        root=str(root),
        out=str(out),
        resume=str(job.resume),
    )
    told = out.with_name("job.json")
    told.write_bytes(msgspec.json.encode(asked))
    read, write = os.pipe()
    process = subprocess.Popen(
        [str(python), "-m", "guideway.pipeline.worker", str(told), str(write)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, pass_fds=(write,), text=True,
    )  # fmt: skip
    os.close(write)
    with os.fdopen(read, "rb") as voice:
        said = [msgspec.json.decode(line, type=Message) for line in voice]
    log = process.communicate()[0]
    for one in said:
        if isinstance(one, Broke):
            raise AssertionError(f"{one.what} | {one.where} | {one.try_this}")
        if isinstance(one, Measured):
            job.measure(
                one.metric, one.value, one.unit, about=one.about, n=one.n, interval=one.interval, slice=one.slice
            )
        elif isinstance(one, Told):
            job.fact(one.text)
        elif isinstance(one, Moved):
            job.progress(one.done, one.total, one.note)
    assert process.returncode == 0, log[-3000:]
    return job
