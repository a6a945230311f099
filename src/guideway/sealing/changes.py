"""The nouns of a difference between two releases: what each section of it holds."""

from __future__ import annotations

from typing import Any

import msgspec

from guideway.core.artifact import Digest


class Change(msgspec.Struct, frozen=True):
    """A value under a dotted key; None is not there. ``default``: on both sides it is a default, or not there."""

    key: str
    old: Any
    new: Any
    default: bool = False


class SourceChange(msgspec.Struct, frozen=True):
    """A file of input data: its digest and rows before and after; None is not there."""

    path: str
    old: Digest | None
    new: Digest | None
    old_rows: int | None
    new_rows: int | None


class SplitChange(msgspec.Struct, frozen=True):
    """Rows of a split before and after, and whether they are the very same."""

    name: str
    old_rows: int | None
    new_rows: int | None
    same: bool


class Data(msgspec.Struct, frozen=True):
    """Sources that changed, all splits, and other keys of the manifest."""

    sources: tuple[SourceChange, ...]
    same_sources: int
    splits: tuple[SplitChange, ...]
    other: tuple[Change, ...]


class Metric(msgspec.Struct, frozen=True):
    """A figure before and after. ``about`` is the role of its subject: data, train, compress.

    ``within_noise``: both intervals overlap, so that the change may be chance; None when one of them is missing.
    ``unseen``: the other side was never looked at for it, because it was never admitted; so it is neither new nor gone.
    """

    name: str
    about: str
    slice: str
    unit: str
    old: float | None
    new: float | None
    change: float | None
    within_noise: bool | None
    unseen: bool = False


class FileChange(msgspec.Struct, frozen=True):
    """A file of the release: bytes before and after; None is not there."""

    path: str
    old: int | None
    new: int | None


class Files(msgspec.Struct, frozen=True):
    """Files that changed, bytes that did not, and bytes that a store that has the first must add for the second."""

    added: tuple[FileChange, ...]
    removed: tuple[FileChange, ...]
    changed: tuple[FileChange, ...]
    unchanged: int
    unchanged_bytes: int
    new_bytes: int


class Size(msgspec.Struct, frozen=True):
    """Bytes of all files before and after."""

    old: int
    new: int
    change: int


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that changed from ``old`` to ``new`` (digests). Each section is empty when nothing did."""

    old: Digest
    new: Digest
    interface: tuple[Change, ...]
    data: Data
    parameters: tuple[Change, ...]
    metrics: tuple[Metric, ...]
    files: Files
    size: Size
    licence: Change | None
    policy: tuple[Change, ...]
    libraries: tuple[Change, ...]
    interface_changes: int
