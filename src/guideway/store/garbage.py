"""Garbage collection in two phases, which never takes a blob that a live writer is about to use.

*Condemn* marks every blob that nothing refers to, with a generation one higher than before, and only then raises the
generation that new leases carry. *Sweep*, in the same call or a later one, takes a marked blob when three things hold:
every live lease is at least as young as the mark, the mark is older than a time of grace, and nothing refers to it now.

Why no live blob is lost. A writer relies on a blob after ``Blobs.has`` or a put, and both look for the mark first and
for the blob second, while a sweep takes the blob first and the mark second.

* The writer saw a mark: it lifts it under the lock of collection, then looks for the blob. Either the sweep came
  first, and the writer finds nothing and puts the blob again; or the writer did, and the sweep finds no mark.
* The writer saw no mark, and the blob: a mark can only be set afterwards. Its generation is then higher than that of
  the writer's lease, because leases learn of a generation only when all its marks are set. So the sweep passes the
  blob over for as long as the lease is held, be the writer stopped for hours. A lease ends after what was written is
  referred to; the sweep looks at leases first and at references second, so it sees one or the other.

A killed writer frees its lease with its process, and what it left half-written goes with the next collection. The
grace is for writers that hold no lease, such as somebody's own script that copies blobs into the layout.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Set

import msgspec

from guideway.core.artifact import Digest
from guideway.core.errors import Corrupt
from guideway.store.blobs import Blobs
from guideway.store.condemned import Mark

GRACE = 3600.0
"""Seconds that a blob stays after it was condemned."""
_LARGEST = 4 << 20
"""Bytes of the largest manifest that is read; the OCI distribution specification asks registries for as much."""

Roots = Callable[[], Set[Digest]]
"""Asks the database for blobs that rows refer to. Called while the lock of collection is held."""


class Collected(msgspec.Struct, frozen=True):
    """What a collection did, as counts of blobs and bytes. ``waiting`` are condemned and not taken yet."""

    blobs: int = 0
    needed: int = 0
    condemned: int = 0
    waiting: int = 0
    waiting_bytes: int = 0
    removed: int = 0
    removed_bytes: int = 0
    leftover_bytes: int = 0
    """Half-written files of writers that died."""


def collect(blobs: Blobs, roots: Roots, *, at: float, grace: float = GRACE, dry_run: bool = False) -> Collected:
    """Condemn what nothing refers to, and take what was condemned *grace* seconds ago and nobody alive can be using.

    Args:
        roots: what is needed beside ``index.json`` and everything that its manifests lead to.
        at: seconds since 1970.
        dry_run: only say what would be done.

    Raises:
        Corrupt: a listed manifest is missing or damaged, so that nobody knows what it needs. Nothing was removed.
    """
    if dry_run:
        return _foreseen(blobs, roots, at - grace)
    condemned = condemn(blobs, roots, at=at)
    return sweep(blobs, roots, before=at - grace, condemned=condemned)


def condemn(blobs: Blobs, roots: Roots, *, at: float) -> int:
    """Phase one: mark every blob that nothing refers to; how many are newly marked."""
    with _alone(blobs):
        needed = reachable(blobs, roots())
        old = {mark.digest: mark for mark in blobs.marks.all()}
        generation = max([blobs.leases.generation(), *(mark.generation for mark in old.values())]) + 1
        fresh = [digest for digest, _ in blobs.all() if digest not in needed and not _stands(old.get(digest), at)]
        for digest in fresh:
            blobs.marks.set(Mark(digest, generation, at))
        blobs.leases.raise_generation(generation)  # last: a lease that carries it sees all its marks
        return len(fresh)


def sweep(blobs: Blobs, roots: Roots, *, before: float, condemned: int = 0) -> Collected:
    """Phase two: take what was condemned at the time *before* or earlier; and what dead writers left half-written."""
    with _alone(blobs):
        oldest = blobs.leases.oldest()  # before the references: whoever ends now has written his
        needed = reachable(blobs, roots())
        leftover = blobs.leases.sweep_hidden() + _sweep_index(blobs)
        sizes, removed, kept = dict(blobs.all()), [], []
        for mark in blobs.marks.all():
            if mark.digest in needed or mark.digest not in sizes:
                blobs.marks.lift(mark.digest)
            elif mark.generation <= oldest and mark.at <= before:
                blobs.discard(mark.digest)
                blobs.marks.lift(mark.digest)
                removed.append(sizes[mark.digest])
            else:
                kept.append(sizes[mark.digest])
    return Collected(
        blobs=len(sizes) - len(removed),
        needed=sum(1 for digest in sizes if digest in needed),
        condemned=condemned,
        waiting=len(kept),
        waiting_bytes=sum(kept),
        removed=len(removed),
        removed_bytes=sum(removed),
        leftover_bytes=leftover,
    )


def reachable(blobs: Blobs, roots: Set[Digest], *, unreadable: Set[Digest] = frozenset()) -> set[Digest]:
    """Every digest that ``index.json`` and *roots* lead to: manifests, configs, layers, subjects.

    Args:
        unreadable: manifests that are known to be damaged: what they lead to is left out, and no error is raised.

    Raises:
        Corrupt: another manifest is missing or damaged.
    """
    found, read = set(roots), set(unreadable)
    waiting = [(entry["digest"], True) for entry in blobs.index()["manifests"]]
    while waiting:
        digest, listed = waiting.pop()
        found.add(digest)
        if digest in read or not (listed or blobs.path(digest).exists()):  # a subject may be elsewhere
            continue
        read.add(digest)
        manifest = _manifest(blobs, digest)
        found |= {one.digest for one in (manifest.config, *manifest.layers, *manifest.blobs) if one}
        waiting += [(one.digest, False) for one in (manifest.subject, *manifest.manifests) if one]
    return found


class _Descriptor(msgspec.Struct, frozen=True):
    digest: Digest


class _Manifest(msgspec.Struct, frozen=True):
    """What any OCI manifest or index may refer to."""

    config: _Descriptor | None = None
    subject: _Descriptor | None = None
    layers: tuple[_Descriptor, ...] = ()
    blobs: tuple[_Descriptor, ...] = ()
    manifests: tuple[_Descriptor, ...] = ()


def _manifest(blobs: Blobs, digest: Digest) -> _Manifest:
    try:
        if blobs.path(digest).stat().st_size > _LARGEST:
            raise Corrupt("this manifest is too large", where=digest)
        return msgspec.json.decode(blobs.read(digest), type=_Manifest)
    except (FileNotFoundError, Corrupt, msgspec.DecodeError) as error:
        what = error.what if isinstance(error, Corrupt) else "this manifest is missing or none"
        raise Corrupt(
            f"{what}, so nobody knows which blobs it needs",
            where=digest,
            try_this="`guideway verify --all` names all damage; pull or build that release again",
        ) from None


def _stands(mark: Mark | None, at: float) -> bool:
    """Is it marked already? A mark from the future comes from a clock that was wrong."""
    return mark is not None and mark.at <= at


def _foreseen(blobs: Blobs, roots: Roots, before: float) -> Collected:
    """What a collection would do now, without a lock and without a change."""
    needed, sizes = reachable(blobs, roots()), dict(blobs.all())
    old = {mark.digest: mark for mark in blobs.marks.all()}
    going = {digest: size for digest, size in sizes.items() if digest not in needed}
    ripe = {digest: size for digest, size in going.items() if digest in old and old[digest].at <= before}
    return Collected(
        blobs=len(sizes),
        needed=len(sizes) - len(going),
        condemned=len(going.keys() - old.keys()),
        waiting=len(going) - len(ripe),
        waiting_bytes=sum(going.values()) - sum(ripe.values()),
        removed=len(ripe),
        removed_bytes=sum(ripe.values()),
    )


def _sweep_index(blobs: Blobs) -> int:
    """Remove what a writer left that died while it wrote the index; how many bytes."""
    freed = 0
    with blobs.index_locked():  # who holds this writes those files, and nobody else
        for path in [*blobs.folder.glob(".index.json.*"), *blobs.folder.glob(".oci-layout.*")]:
            freed += path.stat().st_size
            path.unlink()
    return freed


@contextlib.contextmanager
def _alone(blobs: Blobs) -> Iterator[None]:
    """One collection at a time, and no rescue meanwhile."""
    blobs.leases.folder.mkdir(exist_ok=True)
    with blobs.leases.lock():
        yield
