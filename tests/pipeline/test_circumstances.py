"""Under which circumstances something was built: what is found out, and what is left unknown."""

from __future__ import annotations

import base64
import hashlib
import subprocess

import pytest

from guideway.pipeline import circumstances as room
from guideway.pipeline.circumstances import circumstances, commit_of, foreign_start_files, read_lock

PACKAGE = "sha256:" + "5" * 64


def git(folder, *argv):
    who = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", "-C", folder, *who, *argv], check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "repository"
    (folder / "project").mkdir(parents=True)
    (folder / "project" / "guideway.yaml").write_text("guideway: 1\n")
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "first")
    return folder


def figures(root, logs=()):
    return {one.metric: one for one in circumstances(root, PACKAGE, logs, at=7.0)}


def test_a_clean_commit_is_named_and_nothing_in_it_is_dirty(repository):
    found = commit_of(repository / "project")
    assert found and len(found.id) == 40 and found.dirty == ()
    one = figures(repository / "project")["dirty_files"]
    assert one.value == 0 and one.subject.digest == PACKAGE and one.source and one.source.role == found.id


@pytest.mark.catalogue("B43")
def test_changed_and_new_files_of_the_project_are_dirty_and_others_are_not(repository):
    project = repository / "project"
    (repository / "elsewhere.txt").write_text("x")
    assert commit_of(project).dirty == ()
    (project / "guideway.yaml").write_text("guideway: 2\n")
    (project / "data 1.jsonl").write_text("{}")
    assert len(commit_of(project).dirty) == 2
    assert figures(project)["dirty_files"].value == 2


def test_without_git_nothing_is_said_about_the_commit(tmp_path):
    assert commit_of(tmp_path) is None
    assert "dirty_files" not in figures(tmp_path)


HASH = "--hash=sha256:" + "a" * 64


@pytest.mark.catalogue("B42")
@pytest.mark.parametrize(
    ("name", "text", "locked"),
    [
        ("requirements.lock", f"A_b==1.0 {HASH}\n", {"a-b": "1.0"}),
        ("requirements.txt", f"a-b[x]==1.0 ; python_version > '3' \\\n    {HASH} \\\n    {HASH}\n", {"a-b": "1.0"}),
        ("requirements.lock", "a-b==1.0\n", {}),
        ("requirements.lock", f"a-b>=1.0 {HASH}\n", {}),
        (
            "pylock.toml",
            '[[packages]]\nname = "a-b"\nversion = "1.0"\n[[packages.wheels]]\nhashes = {sha256 = "a"}\n',
            {"a-b": "1.0"},
        ),
        ("uv.lock", '[[package]]\nname = "a-b"\nversion = "1.0"\nsdist = {hash = "sha256:a"}\n', {"a-b": "1.0"}),
        ("poetry.lock", '[[package]]\nname = "a-b"\nversion = "1.0"\nfiles = [{hash = "sha256:a"}]\n', {"a-b": "1.0"}),
        ("uv.lock", '[[package]]\nname = "a-b"\nversion = "1.0"\nsource = {editable = "."}\n', {}),
        ("uv.lock", "[[package]\nbroken", {}),
    ],
)
def test_only_a_version_with_a_hash_is_locked(tmp_path, name, text, locked):
    (tmp_path / name).write_text(text)
    assert read_lock(tmp_path / name) == locked


class Installed:
    """One installed distribution, as far as it is asked."""

    def __init__(self, name, version, folder="/nowhere"):
        self._text, self._folder = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\nName: no\n", folder

    def read_text(self, name):
        return self._text if name == "METADATA" else None

    def locate_file(self, path):
        return f"{self._folder}/{path}"


@pytest.mark.catalogue("B42")
def test_what_is_installed_and_not_locked_is_counted(tmp_path, monkeypatch):
    installed = [Installed("A_b", "1.0"), Installed("c", "2.0"), Installed("pip", "23.0")]
    monkeypatch.setattr(room.metadata, "distributions", lambda **_: installed)
    (tmp_path / "requirements.lock").write_text(f"a-b==1.0 {HASH}\nc==1.9 {HASH}\n")
    assert figures(tmp_path)["unlocked_distributions"].value == 1
    (tmp_path / "requirements.lock").unlink()
    assert figures(tmp_path)["unlocked_distributions"].value == 2


def distribution(folder, name, files):
    """Install a distribution by hand: its files, and a RECORD that lists them with their hashes."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = []
    for path, text in files.items():
        (folder / path).write_text(text)
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        lines.append(f"{path},sha256={digest},{len(text)}")
    (info / "RECORD").write_text("\n".join([*lines, f"{info.name}/RECORD,,"]) + "\n")


@pytest.mark.catalogue("B42")
def test_a_start_file_that_no_distribution_brought_is_foreign(tmp_path):
    distribution(tmp_path, "good", {"good.pth": "import good\n"})
    assert foreign_start_files([tmp_path]) == []
    (tmp_path / "evil.pth").write_text("import os; os.system('x')\n")
    (tmp_path / "sitecustomize.py").write_text("import os\n")
    assert [path.name for path in foreign_start_files([tmp_path])] == ["evil.pth", "sitecustomize.py"]


@pytest.mark.catalogue("B42")
def test_a_start_file_that_was_changed_after_the_install_is_foreign(tmp_path):
    distribution(tmp_path, "good", {"good.pth": "import good\n"})
    (tmp_path / "good.pth").write_text("import good; import evil\n")
    assert [path.name for path in foreign_start_files([tmp_path])] == ["good.pth"]


def test_this_environment_has_no_foreign_start_file():
    assert foreign_start_files(room.site_folders()) == []


def test_a_secret_in_a_log_of_the_build_is_counted_and_never_shown(tmp_path):
    token = "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"
    log = tmp_path / "train.log"
    log.write_text(f"logging in with {token}\n")
    found = figures(tmp_path, [log, tmp_path / "none.log"])
    assert found["secrets_in_logs"].value == 1
    assert token not in repr(found)


def test_the_same_environment_has_the_same_digest(tmp_path):
    first, second = figures(tmp_path), figures(tmp_path)
    assert first["foreign_start_files"].inputs == second["foreign_start_files"].inputs
