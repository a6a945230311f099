"""One repository of a registry, in the words of the OCI distribution specification 1.1."""

from __future__ import annotations

import re
from typing import NamedTuple, TypeVar
from urllib.parse import urlencode

import msgspec

from guideway.core.artifact import Digest, digest_bytes
from guideway.core.errors import Corrupt, Unavailable
from guideway.sealing.pack import INDEX, MANIFEST
from guideway.sealing.registry.http import Body, Http, joined
from guideway.sealing.registry.wire import Answer, Stream, denied

_ACCEPT = {"Accept": f"{MANIFEST}, {INDEX}"}
_BYTES = "application/octet-stream"
_RANGE = re.compile(r"(?:bytes=)?0-(\d{1,18})")
_NEXT = re.compile(r'<([^<>]+)>\s*;[^<>]*rel="?next"?')
_PAGES = 100


class Document(NamedTuple):
    """A manifest or index as the registry holds it."""

    digest: Digest
    data: bytes


class Session(NamedTuple):
    """An upload that began: where its next bytes go, and how many the registry has."""

    location: str
    offset: int


class Page(msgspec.Struct):
    """What an index lists; entries are checked where they are used."""

    manifests: list[dict[str, object]] = []


class _Tags(msgspec.Struct):
    tags: list[str] | None = None


Shape = TypeVar("Shape", Page, _Tags)


class Repository:
    """Manifests, blobs, uploads and referrers of one repository. Threads may share it."""

    def __init__(self, http: Http, name: str) -> None:
        self.http, self.name = http, name
        self._path = f"/v2/{name}"
        self.where = f"{http.host}/{name}"

    def ping(self) -> None:
        """Is this a registry, and does it know us?

        Raises:
            Unavailable: no.
        """
        answer = self.http.begin("/v2/")
        if answer.status != 200:
            raise denied(answer, "talk to the registry", self.http.host)

    def manifest(self, name: str) -> Document | None:
        """The manifest or index called *name* (a tag or a digest), checked against its digest; None if there is none.

        Raises:
            Corrupt: its bytes are not what the digest says.
        """
        answer = self.http.ask("GET", f"{self._path}/manifests/{name}", headers=_ACCEPT)
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise denied(answer, f"read '{name}'", self.where)
        found = digest_bytes(answer.data)
        said = name if ":" in name else answer.headers.get("docker-content-digest", found)
        if found != said:
            raise Corrupt("the registry's manifest is not what its digest says", where=f"{self.where}@{said}")
        return Document(found, answer.data)

    def has_manifest(self, digest: Digest) -> bool:
        """Is the manifest there?"""
        answer = self.http.ask("HEAD", f"{self._path}/manifests/{digest}", headers=_ACCEPT)
        return self._is_there(answer, "look for a manifest")

    def tagged(self, tag: str) -> Digest:
        """The digest that *tag* names; empty if there is none, or the registry does not say."""
        answer = self.http.ask("HEAD", f"{self._path}/manifests/{tag}", headers=_ACCEPT)
        found = self._is_there(answer, "look for a tag")
        return answer.headers.get("docker-content-digest", "") if found else ""

    def put_manifest(self, name: str, media_type: str, data: bytes) -> bool:
        """Put a manifest under a tag or its digest. True if the registry lists it among its subject's referrers."""
        path = f"{self._path}/manifests/{name}"
        answer = self.http.ask("PUT", path, headers=_sized(len(data), media_type), body=lambda: [data])
        if answer.status != 201:
            raise denied(answer, f"write '{name}'", self.where)
        return "oci-subject" in answer.headers

    def has_blob(self, digest: Digest, size: int) -> bool:
        """Is the blob there, with this *size* in bytes?"""
        answer = self.http.ask("HEAD", f"{self._path}/blobs/{digest}")
        return self._is_there(answer, "look for a blob") and answer.headers.get("content-length", "") == str(size)

    def blob(self, digest: Digest, start: int = 0) -> Stream:
        """A blob's bytes from *start* on: 206, or 200 when the registry sends all of it. The caller closes it.

        Raises:
            Unavailable: the registry does not have it, or does not give it.
        """
        headers = {"Range": f"bytes={start}-"} if start else {}
        response = self.http.open("GET", f"{self._path}/blobs/{digest}", headers=headers)
        if response.status == 416 and start:
            response.close()
            return self.blob(digest)
        if response.status not in (200, 206):
            response.close()
            raise denied(response, f"read {digest}", self.where)
        return response

    def begin_upload(self, digest: Digest, mount_from: str = "") -> Session | None:
        """Begin to upload; None if the blob could be mounted from the repository *mount_from* instead."""
        query = "?" + urlencode({"mount": digest, "from": mount_from}) if mount_from else ""
        answer = self.http.ask("POST", f"{self._path}/blobs/uploads/{query}", headers=_sized(0))
        if answer.status == 201 and mount_from:
            return None
        if answer.status != 202 and mount_from:
            return self.begin_upload(digest)
        if answer.status != 202:
            raise denied(answer, "begin to write a blob", self.where)
        return Session(self._location(answer, "/"), 0)

    def upload_status(self, location: str) -> Session | None:
        """How far an upload that was broken off had come; None if the registry gave it up."""
        answer = self.http.ask("GET", location)
        offset = _offset(answer)
        return Session(self._location(answer, location), offset) if answer.status == 204 and offset else None

    def send_part(self, session: Session, size: int, body: Body) -> Session | None:
        """Send the next *size* bytes of an upload; None if the registry did not take them."""
        until = session.offset + size
        headers = _sized(size, _BYTES) | {"Content-Range": f"{session.offset}-{until - 1}"}
        answer = self.http.ask("PATCH", session.location, headers=headers, body=body, tries=1)
        self._check_allowed(answer)
        return Session(self._location(answer, session.location), until) if answer.status == 202 else None

    def finish_upload(self, session: Session, digest: Digest, size: int = 0, body: Body = lambda: ()) -> bool:
        """Close an upload with its last *size* bytes; False if the registry found something else than *digest*."""
        join = "&" if "?" in session.location else "?"
        url = session.location + join + urlencode({"digest": digest})
        answer = self.http.ask("PUT", url, headers=_sized(size, _BYTES), body=body, tries=1)
        self._check_allowed(answer)
        return answer.status == 201

    def tags(self) -> list[str]:
        """All tags, in the registry's order."""
        found: list[str] = []
        for answer in self._pages(f"{self._path}/tags/list"):
            if answer.status == 404:
                return found
            if answer.status != 200:
                raise denied(answer, "list the tags", self.where)
            found += self._decoded(answer, _Tags).tags or []
        return found

    def referrers(self, digest: Digest) -> list[dict[str, object]] | None:
        """The descriptors of what refers to *digest*; None if the registry has no such interface."""
        found: list[dict[str, object]] = []
        for answer in self._pages(f"{self._path}/referrers/{digest}"):
            if answer.status in (400, 404, 405, 501):
                return None
            if answer.status != 200:
                raise denied(answer, "list what is attached", self.where)
            if INDEX not in answer.headers.get("content-type", ""):  # a page for people, for instance
                return None
            found += self._decoded(answer, Page).manifests
        return found

    def _check_allowed(self, answer: Answer) -> None:
        if answer.status in (401, 403, 413):
            raise denied(answer, "write a blob", self.where)

    def _pages(self, path: str) -> list[Answer]:
        answers = [self.http.ask("GET", path)]
        while (found := _NEXT.search(answers[-1].headers.get("link", ""))) and len(answers) < _PAGES:
            answers.append(self.http.ask("GET", joined(path, found[1])))
        return answers

    def _decoded(self, answer: Answer, shape: type[Shape]) -> Shape:
        try:
            return msgspec.json.decode(answer.data, type=shape)
        except (msgspec.DecodeError, RecursionError):
            raise Corrupt("the registry's list is not one", where=self.where) from None

    def _is_there(self, answer: Answer, doing: str) -> bool:
        if answer.status not in (200, 404):
            raise denied(answer, doing, self.where)
        return answer.status == 200

    def _location(self, answer: Answer, base: str) -> str:
        """Where the next bytes go, as a whole URL; the registry may leave it unsaid when it did not change."""
        location = answer.headers.get("location", base if base != "/" else "")
        if not location:
            raise Unavailable("the registry does not say where to write", where=self.where)
        return joined(joined(self.http.origin, base), location)


def _sized(size: int, media_type: str = "") -> dict[str, str]:
    return {"Content-Length": str(size), **({"Content-Type": media_type} if media_type else {})}


def _offset(answer: Answer) -> int:
    """Bytes that the registry has; ``0-0`` can mean none or one, and counts as none."""
    found = _RANGE.fullmatch(answer.headers.get("range", ""))
    return int(found[1]) + 1 if found and int(found[1]) else 0
