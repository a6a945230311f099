"""Under which circumstances something was built: commit, locked dependencies, start files, secrets in logs."""

from __future__ import annotations

import base64
import csv
import hashlib
import re
import subprocess
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec

from guideway import __version__
from guideway.core.artifact import Digest, digest_of
from guideway.core.dossier import code_subject
from guideway.core.evidence import Evidence, Producer, Subject
from guideway.kit.installed import name_and_version, normal_name
from guideway.sealing.scanner import find_secrets

LOCKS = ("requirements.lock", "pylock.toml", "uv.lock", "poetry.lock", "requirements.txt")
"""Lock files that are read, the first one that exists; in the form that pip, PEP 751, uv or Poetry writes."""
TOOLS = frozenset({"pip", "setuptools", "wheel"})
"""Distributions that install others and are no part of what runs."""
_START_FILE = re.compile(r"\.pth[\",]|(?:^|/)(?:sitecustomize|usercustomize)\.py")
_PINNED = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)(?:\[[^\]]*\])?==(?P<version>[^\s;\\]+)")


class Commit(msgspec.Struct, frozen=True):
    """The commit of a folder, and which of its files differ from it."""

    id: str
    dirty: tuple[str, ...]


def circumstances(root: Path, package: Digest, logs: Iterable[Path], *, at: float) -> tuple[Evidence, ...]:
    """What can be said of the build of *package* in the folder *root*. What cannot be found out is left out."""
    commit = commit_of(root)
    installed = dict(name_and_version(one) for one in metadata.distributions())
    environment = digest_of(sorted(installed.items()))
    lock = next((root / name for name in LOCKS if (root / name).is_file()), None)
    locked = read_lock(lock) if lock else {}
    unlocked = [name for name, version in installed.items() if name not in TOOLS and locked.get(name) != version]
    strange = foreign_start_files(site_folders())
    leaks = sum(len(find_secrets(log.read_bytes())) for log in logs if log.is_file())
    found: list[tuple[str, float, str, int]] = [
        ("unlocked_distributions", len(unlocked), "distributions", len(installed)),
        ("foreign_start_files", len(strange), "files", 0),
        ("secrets_in_logs", leaks, "findings", 0),
    ]
    if commit:
        found.insert(0, ("dirty_files", len(commit.dirty), "files", 0))
    source = Subject("code", code_subject(commit.id), commit.id) if commit else None
    return tuple(
        Evidence(
            metric=metric,
            value=float(value),
            unit=unit,
            n=n,
            subject=Subject("artifact", package, "package"),
            source=source,
            inputs=(environment,),
            produced_by=Producer("guideway/build", __version__),
            at=at,
        )
        for metric, value, unit, n in found
    )


def commit_of(root: Path) -> Commit | None:
    """The commit of the git repository that *root* lies in, and what in *root* differs from it; None without git."""
    try:
        head = _git(root, "rev-parse", "HEAD").strip()
        changed = _git(root, "status", "--porcelain=v1", "-z", "--untracked-files=all", "--", ".")
    except (OSError, subprocess.SubprocessError):
        return None
    return Commit(head, tuple(line[3:] for line in changed.split("\0") if line))


def read_lock(path: Path) -> dict[str, str]:
    """The versions that the lock file *path* pins with a hash, by plain name."""
    text = path.read_text(encoding="utf-8", errors="replace")
    if path.suffix in (".toml", ".lock") and "[[package" in text:
        return _toml_lock(text)
    joined = text.replace("\\\n", " ")
    lines = (line for line in joined.splitlines() if "--hash=" in line)
    found = (_PINNED.match(line.strip()) for line in lines)
    return {normal_name(one["name"]): one["version"] for one in found if one}


def foreign_start_files(folders: Sequence[Path]) -> list[Path]:
    """Files that run when Python starts, and that no installed distribution brought (or not with these bytes)."""
    known = _recorded(folders)
    suspects = [path for folder in folders for path in sorted(folder.glob("*.pth"))]
    suspects += [folder / f"{name}.py" for folder in folders for name in ("sitecustomize", "usercustomize")]
    return [path for path in suspects if path.is_file() and not _is_recorded(path, known)]


def site_folders() -> list[Path]:
    """The folders that installed distributions lie in."""
    found = {Path(str(one.locate_file(""))).resolve() for one in metadata.distributions()}
    return sorted(folder for folder in found if folder.is_dir())


def _git(root: Path, *argv: str) -> str:
    command = ["git", "-C", str(root), *argv]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30, stdin=subprocess.DEVNULL)
    return done.stdout


def _toml_lock(text: str) -> dict[str, str]:
    """PEP 751, uv and Poetry: packages with a version and hashed files."""
    try:
        plain = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return {}
    packages: list[Mapping[str, Any]] = plain.get("packages") or plain.get("package") or []
    hashed = [one for one in packages if any(one.get(key) for key in ("wheels", "sdist", "files", "archive"))]
    return {normal_name(str(one["name"])): str(one["version"]) for one in hashed if "version" in one}


def _recorded(folders: Sequence[Path]) -> dict[Path, str]:
    """Start files that a distribution's RECORD lists, with the hash that it gives (``sha256=…``)."""
    found = {}
    for distribution in metadata.distributions(path=[str(folder) for folder in folders]):
        for path, stated, *_ in csv.reader(_start_lines(distribution.read_text("RECORD") or "")):
            found[Path(str(distribution.locate_file(path))).resolve()] = stated
    return found


def _start_lines(record: str) -> Iterator[str]:
    """The lines about start files. Most records have none, and cutting all of them into lines takes longest."""
    if ".pth" in record or "customize.py" in record:
        yield from (line for line in record.splitlines() if _START_FILE.search(line))


def _is_recorded(path: Path, known: Mapping[Path, str]) -> bool:
    stated = known.get(path.resolve())
    if not stated:
        return False
    mode, _, value = stated.partition("=")
    digest = hashlib.new(mode, path.read_bytes()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == value
