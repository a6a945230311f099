"""What is attached to a release in a registry: its referrers interface, or else the tag ``sha256-…``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from guideway.core.artifact import Digest, canonical_json
from guideway.core.errors import Corrupt, Unavailable
from guideway.kit.retry import pauses
from guideway.sealing.pack import INDEX
from guideway.sealing.registry.client import Page, Repository
from guideway.sealing.registry.http import TRIES

Entry = dict[str, Any]


def attached(repository: Repository, release: Digest) -> list[Entry]:
    """The descriptors of everything attached to *release*, as the registry lists them, not checked yet."""
    found = repository.referrers(release)
    return _listed(repository, release) if found is None else found


def list_under_tag(
    repository: Repository, release: Digest, entries: Iterable[Entry], *, wait: Callable[[float], None]
) -> None:
    """List *entries* under the fallback tag of *release*, beside what others listed there.

    A registry cannot be asked to write only if nobody else wrote: what was written is read again, and written again
    if somebody else's list has replaced it.

    Raises:
        Unavailable: others kept replacing it.
    """
    wanted = list(entries)
    left = pauses(TRIES)
    while True:
        there = _listed(repository, release)
        known = {one.get("digest") for one in there}
        missing = [one for one in wanted if one["digest"] not in known]
        if not missing:
            return
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [*there, *missing]}
        repository.put_manifest(_tag(release), INDEX, canonical_json(index))
        if {one["digest"] for one in wanted} <= {one.get("digest") for one in _listed(repository, release)}:
            return
        pause = next(left, None)
        if pause is None:
            raise Unavailable("others keep changing what is attached", where=repository.where, try_this="push it again")
        wait(pause)


def _listed(repository: Repository, release: Digest) -> list[Entry]:
    found = repository.manifest(_tag(release))
    if found is None:
        return []
    try:
        return msgspec.json.decode(found.data, type=Page).manifests
    except (msgspec.DecodeError, RecursionError):
        raise Corrupt("the list of what is attached is not one", where=f"{repository.where}:{_tag(release)}") from None


def _tag(release: Digest) -> str:
    return release.replace(":", "-")
