"""``guideway diff``: two releases in a store, what people read, and what machines read."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
import sys
from typing import Any

import click
import msgspec
import pytest

from guideway.cli.diff import MOST, Section, draw, sections, size, value
from guideway.core.artifact import Artifact, File
from guideway.core.evidence import OBSERVER, Evidence, Interval, Producer, Subject
from guideway.core.release import Release
from guideway.core.spec import Data, Privacy, Source, Spec, Train, build_part
from guideway.sealing.difference import Difference, Side, difference
from guideway.sealing.pack import attach, pack
from guideway.signing import dsse, statements
from guideway.signing.keys import signer
from guideway.store import releases
from guideway.store.blobs import Blobs
from guideway.store.database import Database
from guideway.store.home import Home

MODEL = "sha256:" + "c" * 64


def seal_one(
    home: Home, *, steps: int, loss: float, licence: str = "MIT", task: str = "chat", words: str = "hi", seen: int = 0
) -> Release:
    """A small release with one signed figure about its model."""
    texts = {
        "spec.json": json.dumps({"name": "small", "task": task, "train": {"steps": steps}, "prompt": words}),
        "serve.json": json.dumps({"name": "small", "task": task, "engine": "onnx"}),
        "policy.json": json.dumps({"licence": licence, "cacheable": True}),
        "environment.lock": "torch==2.8.0\n",
        "data/manifest.json": json.dumps(
            {
                "sources": [{"path": "data/questions.jsonl", "digest": "sha256:" + f"{steps:064d}", "rows": steps}],
                "splits": {"train": {"rows": steps, "digest": f"sha256:{steps}"}, "test": {"rows": 9, "digest": "x"}},
            }
        ),
        "model/model.onnx": f"weights of {steps} steps",
    }
    blobs, key = Blobs(home.oci), signer(home.keys)
    files = [File(path, len(text), blobs.put_bytes(text.encode())) for path, text in sorted(texts.items())]
    descriptor = pack(blobs, "small", files, facts={})
    about = Subject("artifact", MODEL, "compress")
    facts = [
        Evidence("loss", loss, "nats/token", about, interval=Interval(loss - 0.1, loss + 0.1, 0.95, "b"), slice="test"),
        Evidence("rows", 9.0, "rows", about),
        *(Evidence(f"seen_{number}", 1.0, "", about, produced_by=Producer(OBSERVER, "1")) for number in range(seen)),
    ]
    package = statements.provenance(
        name="package", output=Artifact.of(files).digest, parameters={}, inputs={"compress": MODEL}, builder="b",
        run="r", evidence=msgspec.to_builtins(facts),
    )  # fmt: skip
    attach(blobs, descriptor, dsse.MEDIA_TYPE, dsse.seal(package, key))
    with Database(home.database) as database:
        return releases.add(database, Release(descriptor["digest"], "small", 0, float(steps), tuple(files)))


@pytest.fixture
def home(project) -> Home:
    return Home.of(project.folder)


def test_people_read_what_changed_section_by_section(project, home):
    seal_one(home, steps=10, loss=2.0)
    seal_one(home, steps=20, loss=1.95, licence="Apache-2.0")
    said = project("diff", "1")
    assert said.returncode == 0, said.stderr
    lines = [" ".join(line.split()) for line in said.stdout.splitlines()]
    assert lines[0].startswith("small:1 (") and "→ small:2 (" in lines[0]
    for line in (
        "Interface: unchanged",
        "Data: 1 sources changed, 0 unchanged",
        "train.steps 10 20",
        "loss compress/test 2 1.95 -0.05 within noise",
        "Figures: 1 changed, 1 unchanged",
        "train 10 → 20 other rows",
        "test 9 the same rows",
        "Licence: MIT → Apache-2.0",
        "Policy: unchanged",
        "Libraries: unchanged",
    ):
        assert line in lines, line
    assert any(line.startswith("Files: 4 changed, 2 unchanged") and "it stores" in line for line in lines)


def test_a_change_beyond_noise_and_one_that_clients_notice_are_said(project, home):
    seal_one(home, steps=10, loss=2.0)
    seal_one(home, steps=10, loss=1.5, task="completion")
    said = project("diff", "1", "2").stdout
    assert "beyond noise" in said and "1 changed, a client will notice" in said


def test_figures_that_only_an_admission_leaves_are_no_change(project, home):
    seal_one(home, steps=10, loss=2.0, seen=3)
    seal_one(home, steps=10, loss=1.5, words="hello")
    said = project("diff", "1").stdout
    assert "Figures: 1 changed, 1 unchanged; 3 are known of one alone, since the other was never admitted" in said
    assert "gone" not in said


def test_machines_get_the_same_bytes_each_time(project, home):
    seal_one(home, steps=10, loss=2.0)
    seal_one(home, steps=20, loss=1.0)
    first, second = project("diff", "1", "2", "--json"), project("diff", "1", "--json")
    assert first.stdout == second.stdout
    found = json.loads(first.stdout)
    assert found["interface_changes"] == 0 and found["metrics"][0]["within_noise"] is False
    back = json.loads(project("diff", "2", "1", "--json").stdout)
    assert back["size"]["change"] == -found["size"]["change"]


def test_a_release_against_itself_is_the_same(project, home):
    seal_one(home, steps=10, loss=2.0)
    assert project("diff", "1").stdout.splitlines()[1] == "the same release"


@pytest.mark.parametrize(
    ("argv", "code", "says"),
    [
        (["diff"], 2, "missing argument 'OLD'"),
        (["diff", "7"], 2, "no release here is called '7'"),
    ],
)
def test_a_release_that_is_not_there_is_one_line(project, argv, code, says):
    said = project(*argv)
    assert said.returncode == code and says.lower() in said.stderr.lower() and len(said.stderr.splitlines()) == 1


def test_a_damaged_release_is_named_and_nothing_is_shown(project, home):
    release = seal_one(home, steps=10, loss=2.0)
    seal_one(home, steps=20, loss=2.0)
    blob = Blobs(home.oci).path(next(file.digest for file in release.files if file.path == "spec.json"))
    blob.chmod(0o644)
    blob.write_bytes(blob.read_bytes()[::-1])
    said = project("diff", "1")
    assert said.returncode == 4 and said.stdout == "" and blob.name in said.stderr


def test_on_a_narrow_terminal_no_line_is_wider_than_it(project, home):
    seal_one(home, steps=10, loss=2.0, words="old " * 30)
    seal_one(home, steps=20, loss=1.9, words="new " * 30, licence="CC-BY-4.0")
    ours, theirs = pty.openpty()
    environment = {**project.environment, "COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"}
    argv = [sys.executable, "-P", "-m", "guideway.cli", "diff", "1"]
    with subprocess.Popen(argv, cwd=project.folder, env=environment, stdout=theirs) as process:
        os.close(theirs)
        seen = b""
        with contextlib.suppress(OSError):  # the other side is closed
            while chunk := os.read(ours, 65536):
                seen += chunk
    os.close(ours)
    assert process.returncode == 0
    lines = click.unstyle(seen.decode()).splitlines()
    assert any("new new" in line for line in lines) and max(map(len, lines)) <= 80


def bare(spec: dict[str, Any]) -> Side:
    return Side(Release(MODEL, "m", 1, 0.0), spec)


def test_long_tables_are_cut_and_say_so(capsys):
    found = difference(bare({}), bare({f"key{number:02d}": number for number in range(MOST + 5)}))
    for section in sections(found):
        draw(section)
    said = capsys.readouterr().out
    assert f"key{MOST - 1}" in said and f"key{MOST}" not in said and "… and 5 more (--json shows all)" in said


def parameters(found: Difference) -> Section:
    return next(one for one in sections(found) if one.title == "Parameters")


def of_recipe(**train: Any) -> Side:
    """A side as a release holds it: every default is written out."""
    spec = Spec(guideway=1, name="m", data=Data(sources=(Source(path="a.jsonl"),)), train=Train(**train))
    return bare(msgspec.json.decode(msgspec.json.encode(build_part(spec))))


def test_what_decides_about_a_model_stands_first_and_is_never_cut(capsys):
    base = "models/a-rather-long-name-of-a-base-1"
    old, new = of_recipe(), of_recipe(recipe="lora", base=base, batch=4, privacy=Privacy(epsilon=8.0))
    draw(parameters(difference(old, new)))
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines() if line]
    assert "of them by defaults alone" in lines[0]
    assert lines[2:4] == [f"train.base – {base}", "train.recipe scratch lora"]
    assert lines.index("train.batch 32 4") < min(at for at, line in enumerate(lines) if "train.privacy.delta" in line)


def test_however_many_sources_a_spec_names_each_is_shown(capsys):
    sources = [{"path": f"{number:02d}.jsonl"} for number in range(MOST + 5)]
    found = difference(bare({"data": {"sources": []}}), bare({"aa": 1, "data": {"sources": sources}}))
    draw(parameters(found))
    said = capsys.readouterr().out
    assert all(one["path"] in said for one in sources) and "aa" not in said.split()


def test_without_signed_figures_it_says_so():
    assert "none that a trusted key signed" in str(sections(difference(bare({}), bare({}))))


@pytest.mark.parametrize(
    ("one", "shown"),
    [
        (None, "–"), ("", '""'), (3, "3"), (True, "true"), ([1], "[1]"), ("a\x1b[2J\nb", "a [2J b"),
        ("x" * 24, "x" * 24), ("x" * 25, "x" * 23 + "…"),
    ],
)  # fmt: skip
def test_a_value_fits_its_cell(one, shown):
    assert value(one) == shown


@pytest.mark.parametrize(
    ("count", "shown"),
    [(None, "–"), (0, "0 B"), (999, "+999 B"), (12_345_678, "+12.3 MB"), (-2_500, "-2.5 kB"), (3 * 10**9, "+3.0 GB")],
)
def test_sizes_are_short_and_signed(count, shown):
    assert size(count, sign=True) == shown
