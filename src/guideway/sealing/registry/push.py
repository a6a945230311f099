"""Push: only what the registry lacks, blobs first, then manifest and attachments, the tag last."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence

from guideway.core.artifact import Digest
from guideway.core.errors import SpecError
from guideway.kit.files import locked
from guideway.sealing.arrive import Attachment, attachment, read_small
from guideway.sealing.pack import MANIFEST, entries_beside
from guideway.sealing.registry.client import Repository
from guideway.sealing.registry.http import Access, Http
from guideway.sealing.registry.reference import Reference
from guideway.sealing.registry.referrers import attached, list_under_tag
from guideway.sealing.registry.upload import PART, upload
from guideway.sealing.shape import blobs_of, release_manifest, sizes
from guideway.sealing.transfers import Meter, Moved, Progress, Transfers, each, held
from guideway.store.blobs import Blobs


def push(
    blobs: Blobs,
    release: Digest,
    reference: Reference,
    access: Access | None = None,
    *,
    mount_from: Sequence[str] = (),
    part: int = PART,
    progress: Progress | None = None,
    wait: Callable[[float], None] = time.sleep,
) -> Moved:
    """Bring *release* with everything attached to it to *reference*.

    A push that was killed goes on where it ended. ``mount_from`` names repositories of the same registry that may hold
    some of the blobs; ``part`` is how many bytes of a blob go in one request.

    Raises:
        SpecError: the reference names another digest.
        Corrupt: something of the release is missing or damaged here.
        Unavailable: the registry does not answer, or says no.
    """
    if reference.digest and reference.digest != release:
        raise SpecError("this is not the digest of the release", where=str(reference), try_this="give a tag instead")
    data = read_small(blobs, release)
    manifest = release_manifest(data, release)
    beside = {one["digest"]: read_small(blobs, one["digest"]) for one in entries_beside(blobs, release)}
    attachments = [attachment(text, digest, release) for digest, text in beside.items()]
    wanted = sizes([*blobs_of(manifest), *(blob for one in attachments for blob in one.blobs)], release)
    with contextlib.closing(Http(reference, access or Access(), wait=wait)) as http:
        repository = Repository(http, reference.repository)
        repository.ping()
        sent, size = _send_blobs(
            repository, blobs, wanted, mount_from=mount_from, part=part, progress=progress, wait=wait
        )
        manifests = _send_manifest(repository, release, data)
        with locked(Transfers(blobs.folder).list_lock(repository.where)):
            manifests += _attach(repository, release, attachments, beside, wait)
        if reference.tag:
            _tag(repository, reference.tag, release, data)
    all_of_it = len(wanted) + 1 + len(attachments)
    return Moved(release, sent + manifests, all_of_it - sent - manifests, size)


def _send_blobs(
    repository: Repository,
    blobs: Blobs,
    wanted: dict[Digest, int],
    *,
    mount_from: Sequence[str],
    part: int,
    progress: Progress | None,
    wait: Callable[[float], None],
) -> tuple[int, int]:
    """Send the blobs that the registry lacks; how many, and how many bytes."""

    def is_missing(digest: Digest) -> bool:
        if not repository.has_blob(digest, wanted[digest]):
            return True
        memory = Transfers(blobs.folder).upload(repository.where, digest)
        if memory.exists():  # whoever sent it was killed before forgetting how far it was
            with held(memory):
                memory.unlink()
        return False

    def send(digest: Digest) -> int:
        return upload(repository, blobs, digest, wanted[digest], meter, mount_from=mount_from, part=part, wait=wait)

    order = sorted(wanted, key=lambda digest: -wanted[digest])  # the largest first: no thread ends alone with it
    missing = [digest for digest, lacks in zip(order, each(is_missing, order, Meter(0, None)), strict=True) if lacks]
    meter = Meter(sum(wanted[digest] for digest in missing), progress)
    counts = each(send, missing, meter)
    return len(missing), sum(counts)


def _send_manifest(repository: Repository, release: Digest, data: bytes) -> int:
    if repository.has_manifest(release):
        return 0
    repository.put_manifest(release, MANIFEST, data)
    return 1


def _attach(
    repository: Repository,
    release: Digest,
    attachments: Sequence[Attachment],
    beside: dict[Digest, bytes],
    wait: Callable[[float], None],
) -> int:
    """Send the attachments that the registry does not list yet; how many. One that lists nothing itself gets a tag."""
    known = {one.get("digest") for one in attached(repository, release)}
    missing = [one for one in attachments if one.digest not in known]
    listed = [repository.put_manifest(one.digest, MANIFEST, beside[one.digest]) for one in missing]
    if not all(listed):
        list_under_tag(repository, release, [one.entry for one in missing], wait=wait)
    return len(missing)


def _tag(repository: Repository, tag: str, release: Digest, data: bytes) -> None:
    """Let the tag name the release: last, so that whoever asks for it finds everything."""
    if repository.tagged(tag) != release:
        repository.put_manifest(tag, MANIFEST, data)
