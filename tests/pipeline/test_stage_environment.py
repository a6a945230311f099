"""A stage with an environment of its own: what its file locks is installed once, and the rest comes from ours."""

from __future__ import annotations

import base64
import hashlib
import importlib
import sys
import zipfile
from pathlib import Path

import msgspec
import pytest

from guideway.core.errors import GuidewayError
from guideway.pipeline.environment import interpreter_for


def wheel(folder: Path, version: str) -> Path:
    """A wheel of the package ``tiny``."""
    files = {
        "tiny.py": f'VERSION = "{version}"\n',
        f"tiny-{version}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: tiny\nVersion: {version}\n",
        f"tiny-{version}.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    lines = [f"{name},sha256={_urlsafe(text)},{len(text)}" for name, text in files.items()]
    files[f"tiny-{version}.dist-info/RECORD"] = "\n".join([*lines, f"tiny-{version}.dist-info/RECORD,,"]) + "\n"
    path = folder / f"tiny-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


def _urlsafe(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


def lock(folder: Path, version: str) -> Path:
    """A requirements file that locks ``tiny``."""
    made = wheel(folder, version)
    digest = hashlib.sha256(made.read_bytes()).hexdigest()
    path = folder / "requirements.txt"
    path.write_text(f"tiny @ {made.as_uri()} --hash=sha256:{digest}\n")
    return path


@pytest.fixture
def apart(project, monkeypatch):
    """The project with one stage, which has an environment of its own; nothing is asked of a network."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    stage = importlib.import_module("fake_apart")
    project.stages = {"apart": stage}

    def locked_to(version):
        monkeypatch.setattr(stage, "environment", lock(project.root, version))

    project.locked_to = locked_to
    return project


def test_a_stage_runs_with_what_its_file_locks_and_with_ours_behind_it(apart):
    apart.locked_to("1.0")
    (file,) = apart.run()["apart"].artifact.files
    assert apart.shop.blobs.read(file.digest).decode() == f"tiny 1.0, msgspec {msgspec.__version__}"
    assert "tiny" not in sys.modules and not importlib.util.find_spec("tiny")


def test_another_lock_runs_the_stage_again_and_the_same_one_does_not(apart):
    apart.locked_to("1.0")
    assert [apart.run()["apart"].facts for _ in range(2)] == [("tiny 1.0",)] * 2
    assert [type(event).__name__ for event in apart.events] == ["StepFinished"]
    apart.locked_to("2.0")
    assert apart.run()["apart"].facts == ("tiny 2.0",)
    assert apart.events[0].why == "environment changed"


def test_an_environment_is_made_once_and_one_that_was_never_whole_again(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    requirements, log = lock(tmp_path, "1.0"), tmp_path / "log"
    python = interpreter_for(requirements, tmp_path / "environments", log)
    log.unlink()
    assert interpreter_for(requirements, tmp_path / "environments", log) == python and not log.exists()
    (python.parents[1] / "guideway-done").unlink()
    assert interpreter_for(requirements, tmp_path / "environments", log) == python and log.exists()


@pytest.mark.parametrize("damage", ["an unlocked line", "other bytes"])
def test_what_is_not_locked_or_not_what_was_locked_is_one_clear_line(tmp_path, monkeypatch, damage):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    requirements = lock(tmp_path, "1.0")
    if damage == "an unlocked line":
        requirements.write_text(requirements.read_text().partition(" --hash")[0] + "\n")
    else:
        (tmp_path / "tiny-1.0-py3-none-any.whl").write_bytes(wheel(tmp_path, "2.0").read_bytes())
    with pytest.raises(GuidewayError, match=r"the environment of the stage cannot be made: .*(hash|HASH)") as refused:
        interpreter_for(requirements, tmp_path / "environments", tmp_path / "log")
    assert "\n" not in str(refused.value) and "requirements.txt" in str(refused.value)
