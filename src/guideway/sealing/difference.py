"""What changed from one release to another: pure over two sides."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from guideway.core.artifact import File, short
from guideway.core.errors import Corrupt
from guideway.core.evidence import OBSERVER, Evidence, Interval
from guideway.core.spec.written import written
from guideway.sealing.changes import (
    Change,
    Data,
    Difference,
    FileChange,
    Files,
    Metric,
    Size,
    SourceChange,
    SplitChange,
)
from guideway.sealing.side import CLASSIFIER, EMBEDDER, GRAPH, LOCK, MANIFEST, POLICY, SERVE, Side, side

__all__ = ["Change", "Data", "Difference", "FileChange", "Files", "Metric", "Side", "Size", "difference", "side"]


def difference(old: Side, new: Side) -> Difference:
    """What changed from *old* to *new*; the same sides give the same difference, in the same order.

    Raises:
        Corrupt: a document of one side is not what it should be.
    """
    interface = _changes(_interface(old), _interface(new))
    policy = _changes(_flat(_object(old, POLICY)), _flat(_object(new, POLICY)))
    return Difference(
        old=old.release.digest,
        new=new.release.digest,
        interface=interface,
        data=_data(_manifest(old), _manifest(new)),
        parameters=_parameter_changes(old, new),
        metrics=_metrics(old.evidence, new.evidence),
        files=_files(old.release.files, new.release.files),
        size=Size(old.release.size, new.release.size, new.release.size - old.release.size),
        licence=next((change for change in policy if change.key == "licence"), None),
        policy=tuple(change for change in policy if change.key != "licence"),
        libraries=_changes(_libraries(old), _libraries(new)),
        interface_changes=len(interface),
    )


class _Source(msgspec.Struct, frozen=True):
    path: str
    digest: str
    rows: int = 0


class _Split(msgspec.Struct, frozen=True):
    rows: int
    digest: str = ""


class _Manifest(msgspec.Struct, frozen=True):
    sources: tuple[_Source, ...] = ()
    splits: dict[str, _Split] = {}


def _manifest(one: Side) -> tuple[_Manifest, Mapping[str, Any]]:
    """The parts of a data manifest that have a form of their own, and the rest of it as dotted keys."""
    plain = one.documents.get(MANIFEST, {})
    try:
        known = msgspec.convert(plain, _Manifest)
    except msgspec.ValidationError as error:
        raise Corrupt(f"not a data manifest: {error}".replace("`", "'"), where=MANIFEST) from None
    return known, plain


def _data(old: tuple[_Manifest, Mapping[str, Any]], new: tuple[_Manifest, Mapping[str, Any]]) -> Data:
    before = {one.path: one for one in old[0].sources}
    after = {one.path: one for one in new[0].sources}
    sources = [_source(path, before.get(path), after.get(path)) for path in sorted(before.keys() | after.keys())]
    changed = tuple(one for one in sources if (one.old, one.old_rows) != (one.new, one.new_rows))
    names = sorted(old[0].splits.keys() | new[0].splits.keys())
    return Data(
        sources=changed,
        same_sources=len(sources) - len(changed),
        splits=tuple(_split(name, old[0].splits.get(name), new[0].splits.get(name)) for name in names),
        other=_changes(_rest(old[1]), _rest(new[1])),
    )


def _rest(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What else the manifest says, with sources by their path: origin, licence, cleaning, seed, rules of splits."""
    told = ("digest", "rows", "bytes", "characters")
    sources = {one["path"]: _without(one, (*told, "path")) for one in manifest.get("sources", ())}
    splits = {name: _without(one, told) for name, one in manifest.get("splits", {}).items()}
    return _flat({**manifest, "sources": sources, "splits": splits})


def _without(value: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    return {key: one for key, one in value.items() if key not in keys}


def _source(path: str, old: _Source | None, new: _Source | None) -> SourceChange:
    return SourceChange(
        path=path,
        old=old.digest if old else None,
        new=new.digest if new else None,
        old_rows=old.rows if old else None,
        new_rows=new.rows if new else None,
    )


def _split(name: str, old: _Split | None, new: _Split | None) -> SplitChange:
    same = bool(old and new and old == new and old.digest)
    return SplitChange(name, old.rows if old else None, new.rows if new else None, same)


def _metrics(old: Iterable[Evidence], new: Iterable[Evidence]) -> tuple[Metric, ...]:
    before, after = _latest(old), _latest(new)
    both_seen = _seen(before.values()) and _seen(after.values())
    return tuple(
        _metric(key, before.get(key), after.get(key), both_seen=both_seen)
        for key in sorted(before.keys() | after.keys())
    )


def _seen(evidence: Iterable[Evidence | None]) -> bool:
    """Is any of it what is seen only when a release is admitted?"""
    return any(one and one.produced_by and one.produced_by.tool == OBSERVER for one in evidence)


def _latest(evidence: Iterable[Evidence]) -> dict[tuple[str, str, str], Evidence]:
    """One fact for each metric, role and slice: an automatic one before any by hand, then the newest."""
    ordered = sorted(evidence, key=lambda one: (one.automatic, one.at, one.value))
    return {(one.metric, one.subject.role or one.subject.kind, one.slice): one for one in ordered}


def _metric(key: tuple[str, str, str], old: Evidence | None, new: Evidence | None, *, both_seen: bool) -> Metric:
    name, about, slice = key
    some = new or old
    return Metric(
        name=name,
        about=about,
        slice=slice,
        unit=some.unit if some else "",
        old=old.value if old else None,
        new=new.value if new else None,
        change=new.value - old.value if old and new else None,
        within_noise=_overlap(old.interval, new.interval) if old and new else None,
        unseen=not both_seen and not (old and new) and _seen((old, new)),
    )


def _overlap(old: Interval | None, new: Interval | None) -> bool | None:
    return None if old is None or new is None else old.low <= new.high and new.low <= old.high


def _files(old: Iterable[File], new: Iterable[File]) -> Files:
    before, after = {file.path: file for file in old}, {file.path: file for file in new}
    both = sorted(before.keys() & after.keys())
    same = [path for path in both if before[path].digest == after[path].digest]
    held = {file.digest for file in before.values()}
    fresh = {file.digest: file.size for file in after.values() if file.digest not in held}
    return Files(
        added=tuple(FileChange(path, None, after[path].size) for path in sorted(after.keys() - before.keys())),
        removed=tuple(FileChange(path, before[path].size, None) for path in sorted(before.keys() - after.keys())),
        changed=tuple(FileChange(path, before[path].size, after[path].size) for path in both if path not in {*same}),
        unchanged=len(same),
        unchanged_bytes=sum(after[path].size for path in same),
        new_bytes=sum(fresh.values()),
    )


def _object(one: Side, path: str) -> Mapping[str, Any]:
    """A document that is an object; empty when the release has none."""
    value = one.documents.get(path, {})
    if not isinstance(value, Mapping):
        raise Corrupt("this document is not an object", where=path)
    return value


def _interface(one: Side) -> dict[str, Any]:
    """What a client would notice: the name it asks for, the task, the labels of a classifier, the space of embeddings.

    Which engine answers, it cannot tell. Embeddings of another model cannot be compared with those that clients keep.
    """
    serve, classifier = _object(one, SERVE), _object(one, CLASSIFIER)
    labels = classifier.get("labels", ())
    return {
        "model": serve.get("name", one.spec.get("name")),
        "task": serve.get("task", one.spec.get("task")),
        "out_of_scope": classifier.get("out_of_scope") or None,
        **_fed(classifier.get("octets")),
        "width": _object(one, EMBEDDER).get("width"),
        "space": _space(one) if EMBEDDER in one.documents else None,
        **{f"label {label}": "there" for label in (labels if isinstance(labels, list | tuple) else ())},
    }


def _fed(octets: Any) -> dict[str, Any]:
    """The input of a classifier of bytes, for clients that make it themselves."""
    if not isinstance(octets, dict):
        return {}
    width = [octets.get("begin"), octets.get("end")]
    return {f"input {octets.get('name')}": f"{octets.get('datatype')} {width}", "least bytes": octets.get("least")}


def _space(one: Side) -> str:
    """What stands for the space of the embeddings: the weights, which alone make it."""
    return next((short(file.digest) for file in one.release.files if file.path == GRAPH), "")


def _parameters(one: Side) -> dict[str, Any]:
    """The build part of the spec, without the policy, which has a section of its own."""
    return _flat(_without(one.spec, ("policy",)))


def _parameter_changes(old: Side, new: Side) -> tuple[Change, ...]:
    """The changes of both specs, with those marked of which nobody wrote either side."""
    said = {key for one in (old, new) for key in _flat(written(one.spec))}
    found = _changes(_parameters(old), _parameters(new))
    return tuple(msgspec.structs.replace(one, default=one.key not in said) for one in found)


def _libraries(one: Side) -> dict[str, Any]:
    """Name to version, from lines such as ``torch==2.8.0``."""
    lines = str(one.documents.get(LOCK, "")).splitlines()
    pairs = [re.split(r"==|\s", line.strip(), maxsplit=1) for line in lines if line.strip() and line[:1] != "#"]
    return {pair[0]: pair[1] if len(pair) > 1 else "" for pair in pairs}


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[Change, ...]:
    keys = sorted(old.keys() | new.keys())
    return tuple(Change(key, old.get(key), new.get(key)) for key in keys if old.get(key) != new.get(key))


def _flat(value: Any, key: str = "") -> dict[str, Any]:
    """Dotted keys to values; ``[…]`` holds the path, or the place, in a list. What is empty is a value."""
    if isinstance(value, Mapping) and value:
        parts = [(f"{key}.{name}" if key else str(name), one) for name, one in value.items()]
    elif isinstance(value, list | tuple) and value:
        parts = [(f"{key}[{label}]", one) for label, one in zip(_labels(value), value, strict=True)]
    else:
        return {key: value} if key else {}
    return {inner: one for name, part in parts for inner, one in _flat(part, name).items()}


def _labels(values: Sequence[Any]) -> list[str]:
    """The path of each, so that a new one in front changes no other; their places if they have none."""
    paths = [str(one["path"]) for one in values if isinstance(one, Mapping) and "path" in one]
    return paths if len({*paths}) == len(values) else [str(place) for place in range(len(values))]
