"""Scan: every file of a folder, or of a release that lies in blobs, held against the formats that are allowed."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from guideway.sealing.scanner import paths, programs
from guideway.sealing.scanner.findings import Finding, Malformed, Scan, finding, shown
from guideway.sealing.scanner.formats import FORMATS
from guideway.sealing.scanner.secrets import find_secrets
from guideway.sealing.scanner.source import Claim, Said, Source, Strings, opened

Progress = Callable[[int, int], None]
UNKNOWN = "unknown"
SHOWN = 20
"""Secrets of one file that are findings of their own."""
SEARCHED = 64 << 20
"""Bytes up to which a file of no known format is searched for secrets."""


def scan_folder(folder: Path, *, progress: Progress | None = None) -> Scan:
    """Judge every file below *folder*; links and whatever is no file are findings too. Runs nothing, writes nothing.

    *progress* is told bytes done and bytes in all.
    """
    files, against = [], []
    for path, place, mode in _walk(folder):
        if stat.S_ISREG(mode):
            files.append((path, place))
        elif stat.S_ISLNK(mode):
            against.append(finding("link", path, "is a link"))
        else:
            against.append(finding("special-file", path, "is a device, a pipe or a socket"))
    return _scan(files, against, progress)


def scan_files(files: Iterable[tuple[str, Path]], *, progress: Progress | None = None) -> Scan:
    """Judge files that lie under other names than in the release: pairs of release path and place."""
    return _scan(list(files), [], progress)


def _scan(files: list[tuple[str, Path]], findings: list[Finding], progress: Progress | None) -> Scan:
    sizes = {path: place.lstat().st_size for path, place in files}
    total, done = sum(sizes.values()), 0
    formats: dict[str, str] = {}
    claims: dict[str, str] = {}
    for path, place in files:
        formats[path], said = _judge(path, place, sizes)
        findings += [one for one in said if isinstance(one, Finding)]
        claims |= {one.path: one.format for one in said if isinstance(one, Claim)}
        done += sizes[path]
        if progress:
            progress(done, total)
    findings += _unknown(formats, claims)
    ordered = sorted(dict.fromkeys(findings), key=lambda one: (one.path, one.rule, one.what))
    return Scan(len(files), total, tuple(ordered), formats)


def _judge(path: str, place: Path, sizes: Mapping[str, int]) -> tuple[str, list[Said]]:
    """The format of one file, and all that is said about it."""
    said: list[Said] = []
    fault = paths.fault(path)
    if fault:
        said.append(finding("file-name", path, f"has a name that {fault}"))
    try:
        with opened(path, place, sizes) as source:
            said += programs.by_name(source)
            name, more = _format(source)
            return name, [*said, *more, *_secrets(source, name, more)]
    except Malformed as error:
        return UNKNOWN, [*said, finding(error.rule, path, error.what)]
    except OSError as error:
        if error.errno == errno.ELOOP:
            return "link", [*said, finding("link", path, "is a link")]
        what = f"cannot be read: {shown((error.strerror or str(error)).lower())}"
        return "unreadable", [*said, finding("unreadable", path, what)]


def _format(source: Source) -> tuple[str, list[Said]]:
    """The first format that knows the file, and what it says."""
    for name, look in FORMATS.items():
        try:
            said = look(source)
            if said is not None:
                return name, list(said)
        except Malformed as error:
            return name, [source.finding(error.rule, error.what)]
    return UNKNOWN, []


def _secrets(source: Source, name: str, said: Iterable[Said]) -> Iterator[Finding]:
    searched = [one.data for one in said if isinstance(one, Strings)]
    if name == UNKNOWN and source.size <= SEARCHED:
        searched = [source.data]
    for data in searched:
        whole = data is source.data
        found = find_secrets(data)
        for one in found[:SHOWN]:
            article = "an" if one.rule[0] in "AO" else "a"
            yield source.finding("secret", f"holds {article} {one.rule}" + (f" on line {one.line}" if whole else ""))
        if len(found) > SHOWN:
            yield source.finding("secret", f"holds {len(found) - SHOWN} secrets more")


def _unknown(formats: dict[str, str], claims: Mapping[str, str]) -> Iterator[Finding]:
    """Give claimed files their format; the other unknown ones are findings."""
    for path, name in formats.items():
        if name == UNKNOWN and path in claims:
            formats[path] = claims[path]
        elif name == UNKNOWN:
            yield finding("unknown-format", path, "is of no format that is allowed")


def _walk(folder: Path) -> Iterator[tuple[str, Path, int]]:
    """All that is below *folder* but folders: path within it, place and mode. Follows no link."""
    for here, folders, names in os.walk(folder, onerror=_raise):
        folders.sort()
        links = [name for name in folders if (Path(here) / name).is_symlink()]
        for name in sorted([*names, *links]):
            place = Path(here) / name
            path = place.relative_to(folder).as_posix().encode("utf-8", "backslashreplace").decode()
            yield path, place, place.lstat().st_mode


def _raise(error: OSError) -> None:
    raise error
