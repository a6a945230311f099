"""Pull: manifest, what is attached and the signature first, then only the blobs that are not here, listed last."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Iterable, Mapping

import msgspec

from guideway.core.artifact import Digest
from guideway.core.errors import Corrupt, Unavailable
from guideway.sealing.arrive import (
    Attachment,
    attachment,
    check_signed,
    check_whole,
    entries_for,
    list_release,
    read_small,
)
from guideway.sealing.pack import MANIFEST
from guideway.sealing.registry.client import Document, Repository
from guideway.sealing.registry.download import download
from guideway.sealing.registry.http import Access, Http
from guideway.sealing.registry.reference import Reference
from guideway.sealing.registry.referrers import attached
from guideway.sealing.shape import (
    LARGEST_MANIFEST,
    MOST_ATTACHMENTS,
    Descriptor,
    Manifest,
    blobs_of,
    name_of,
    release_manifest,
    sizes,
)
from guideway.sealing.transfers import Meter, Moved, Progress, each
from guideway.signing.keys import Verifier
from guideway.store.blobs import Blobs


def pull(
    blobs: Blobs,
    reference: Reference,
    trusted: Mapping[str, Verifier],
    access: Access | None = None,
    *,
    progress: Progress | None = None,
    wait: Callable[[float], None] = time.sleep,
) -> Moved:
    """Bring the release at *reference* here, with everything attached to it, and list it.

    Its signature is checked before its weights are asked for. A pull that was killed goes on where it ended.

    Raises:
        Corrupt: the registry's bytes are not what their digests say, or no trusted key signed the release.
        Unavailable: the registry does not answer, does not have it, or the disk is too small.
    """
    with contextlib.closing(Http(reference, access or Access(), wait=wait)) as http, blobs.writing():
        repository = Repository(http, reference.repository)
        repository.ping()
        document = repository.manifest(reference.name)
        if document is None:
            raise Unavailable(
                "the registry has no such release", where=str(reference), try_this="are repository and tag right?"
            )
        manifest = release_manifest(document.data, document.digest)
        beside = _attachments(repository, blobs, document.digest)
        task = _Pull(repository, blobs, document, manifest=manifest, beside=beside, progress=progress, wait=wait)
        return task.run(trusted)


class _Pull:
    """One pull, once it is known what belongs to the release."""

    def __init__(
        self,
        repository: Repository,
        blobs: Blobs,
        document: Document,
        *,
        manifest: Manifest,
        beside: Mapping[Digest, tuple[Attachment, bytes]],
        progress: Progress | None,
        wait: Callable[[float], None],
    ) -> None:
        self._repository, self._blobs, self._wait = repository, blobs, wait
        self._document, self._manifest, self._beside = document, manifest, beside
        parts = [*blobs_of(manifest), *(blob for one, _ in beside.values() for blob in one.blobs)]
        self._wanted = sizes(parts, document.digest)
        self._missing = {digest for digest, size in self._wanted.items() if not blobs.has(digest, size)}
        total = sum(self._wanted[digest] for digest in self._missing)
        self._meter = Meter(total, progress)
        if total > shutil.disk_usage(blobs.folder).free:
            what = f"{total / 1e6:.0f} MB are missing here and do not fit on the disk"
            raise Unavailable(what, where=str(blobs.folder), try_this="free some space")

    def run(self, trusted: Mapping[str, Verifier]) -> Moved:
        """Bring what is missing, check, list."""
        release, config = self._document.digest, self._manifest.config
        if config.size > LARGEST_MANIFEST:
            raise Corrupt("the config of this release is too large", where=config.digest)
        small = [config, *(blob for one, _ in self._beside.values() for blob in one.blobs)]
        size = self._bring(small)
        manifests = [self._document.data, *(data for _, data in self._beside.values())]
        fresh = sum(not self._blobs.has(digest) for digest in (release, *self._beside))
        for data in manifests:
            self._blobs.put_bytes(data)
        name = name_of(read_small(self._blobs, config.digest), release)
        entries = entries_for(release, len(self._document.data), name, [one for one, _ in self._beside.values()])
        check_signed(self._blobs, release, entries, trusted)
        size += self._bring(self._manifest.layers)
        check_whole(self._blobs, blobs_of(self._manifest), release)
        list_release(self._blobs, release, entries)
        moved = len(self._missing) + fresh
        return Moved(release, moved, len(self._wanted) + len(manifests) - moved, size)

    def _bring(self, descriptors: Iterable[Descriptor]) -> int:
        """Bring those of the blobs that are still missing; how many bytes came."""
        here = {one.digest for one in descriptors} & self._missing
        order = sorted(
            (digest for digest in here if not self._blobs.has(digest, self._wanted[digest])),
            key=lambda digest: -self._wanted[digest],  # the largest first: no thread ends alone with it
        )

        def bring(digest: Digest) -> int:
            return download(self._repository, self._blobs, digest, self._wanted[digest], self._meter, wait=self._wait)

        return sum(each(bring, order, self._meter))


def _attachments(repository: Repository, blobs: Blobs, release: Digest) -> dict[Digest, tuple[Attachment, bytes]]:
    """Everything attached to *release*, each with the bytes of its manifest.

    Raises:
        Corrupt: the registry lists what it does not have, or what is about something else.
    """
    found: dict[Digest, tuple[Attachment, bytes]] = {}
    listed = attached(repository, release)
    if len(listed) > MOST_ATTACHMENTS:
        raise Corrupt(f"more than {MOST_ATTACHMENTS} things are attached", where=release)
    for entry in listed:
        if entry.get("mediaType") != MANIFEST:
            continue  # an index with a subject, for instance: nothing that we read
        try:
            said = msgspec.convert(entry, Descriptor)
        except msgspec.ValidationError:
            raise Corrupt("the list of what is attached is damaged", where=release) from None
        data = _manifest(repository, blobs, said)
        found[said.digest] = attachment(data, said.digest, release), data
    return found


def _manifest(repository: Repository, blobs: Blobs, said: Descriptor) -> bytes:
    if said.size <= LARGEST_MANIFEST and blobs.has(said.digest, said.size):
        return blobs.read(said.digest)
    document = repository.manifest(said.digest)
    if document is None or len(document.data) != said.size:
        raise Corrupt("the registry lists an attachment that it does not have", where=said.digest)
    return document.data
