"""A step that is killed goes on where it was, and what it left is swept away in the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from guideway.core.errors import GuidewayError
from guideway.core.events import Progress
from guideway.core.spec import Spec
from guideway.kit.files import locked
from guideway.pipeline.resume import STALE, lock_of, resume_of, sweep
from guideway.pipeline.run import run
from guideway.pipeline.stages import STAGES
from guideway.pipeline.workshop import open_workshop
from guideway.store.home import Home

SHAPE = {"layers": 1, "hidden": 16, "heads": 1, "kv_heads": 1, "feed_forward": 32, "vocabulary": 300, "context": 32}
SPEC = {
    "guideway": 1,
    "name": "small",
    "data": {"sources": [{"path": "rows.jsonl"}]},
    "train": {"architecture": SHAPE, "steps": 60, "batch": 4, "checkpoint_every": 20, "patience": 9},
}
BUILD = """
import sys
sys.path.insert(0, {tests!r})
from pathlib import Path
import test_run_resume
test_run_resume.build(Path({root!r}), lambda event: print(getattr(event, "done", ""), flush=True))
"""


def build(root: Path, emit):
    """Data and training of the small spec in *root*."""
    stages = {name: STAGES[name] for name in ("data", "train")}
    return run(msgspec.convert(SPEC, Spec), root, stages, open_workshop(Home.of(root)), emit)


def children() -> list[int]:
    return [int(pid) for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()]


def project(root: Path) -> Path:
    root.mkdir()
    rows = [{"prompt": f"what is {n}?", "response": f"{n} is {n * n}"} for n in range(40)]
    (root / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return root


def checkpoints(root: Path) -> list[str]:
    return sorted(path.name[:14] for path in (root / ".guideway" / "run" / "resume").glob("*/step-*"))


def build_killed_at(root: Path, step: int) -> None:
    """A builder in a process of its own, killed when its stage says that *step* is done."""
    code = BUILD.format(tests=str(Path(__file__).parent), root=str(root))
    builder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert builder.stdout
    for line in builder.stdout:
        if line.strip() and float(line) >= step and float(line) < 60 and checkpoints(root):
            break
    builder.kill()
    builder.wait()


@pytest.mark.thorough
@pytest.mark.catalogue("A35")
def test_a_training_whose_builder_and_whose_stage_are_killed_ends_with_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.delenv("GUIDEWAY_HOME", raising=False)
    calm, rough = project(tmp_path / "calm"), project(tmp_path / "rough")
    whole = build(calm, lambda event: None)["train"]
    build_killed_at(rough, 25)
    assert checkpoints(rough) == ["step-000000020"]

    def kill(event):
        if isinstance(event, Progress) and 45 <= event.done < 60:
            for pid in children():
                os.kill(pid, signal.SIGKILL)

    with pytest.raises(GuidewayError, match="stage train was killed"):
        build(rough, kill)
    assert checkpoints(rough) == ["step-000000020", "step-000000040"]
    done = build(rough, lambda event: None)["train"]
    assert "went on from the checkpoint at step 40" in done.facts
    assert done.artifact.digest == whole.artifact.digest
    assert list((rough / ".guideway" / "run" / "resume").iterdir()) == []


def left(home: Home, key: str, at: float) -> Path:
    """What a step killed at the time *at* left."""
    folder = resume_of(home, key)
    folder.mkdir(parents=True)
    (folder / "step").write_text("x")
    for path in (folder / "step", folder):
        os.utime(path, (at, at))
    return folder


def test_what_nobody_waits_for_is_swept(tmp_path):
    home = Home.of(tmp_path)
    old, young = left(home, "sha256:" + "a" * 64, 1000.0), left(home, "sha256:" + "b" * 64, 1001.0)
    sweep(home, 1000.5 + STALE)
    assert not old.exists() and young.exists()


def test_what_somebody_works_on_is_not_swept(tmp_path):
    home, key = Home.of(tmp_path), "sha256:" + "a" * 64
    old = left(home, key, 1000.0)
    with locked(lock_of(home, key)):
        sweep(home, 1001.0 + STALE)
    assert old.exists()
    sweep(home, 1001.0 + STALE)
    assert not old.exists()


def test_other_work_does_not_go_on_from_it(tmp_path):
    home = Home.of(tmp_path)
    assert resume_of(home, "sha256:" + "a" * 64) != resume_of(home, "sha256:" + "a" * 63 + "b")
