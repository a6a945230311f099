"""``host[:port]/repository[:tag|@digest]``: where a release lies in a registry. Strict, as the registries are."""

from __future__ import annotations

import re

import msgspec

from guideway.core.artifact import Digest
from guideway.core.errors import SpecError
from guideway.kit.addresses import is_forbidden

LATEST = "latest"
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"(?P<name>{_LABEL}(?:\.{_LABEL})*|\[[0-9a-f:.]+\])(?::(?P<port>[0-9]{{1,5}}))?")
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_PART}(?:/{_PART})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_PASSWORD = re.compile(r"[^/@]+@(?!sha256:)")
_LONGEST = 255
_SHAPE = "write host[:port]/repository[:tag] or host[:port]/repository@sha256:..., in small letters"


class Reference(msgspec.Struct, frozen=True):
    """A parsed reference. ``host`` includes the port; either ``tag`` or ``digest`` is set."""

    host: str
    repository: str
    tag: str = ""
    digest: Digest = ""

    @property
    def name(self) -> str:
        """What the manifest is asked for by: the digest, or else the tag."""
        return self.digest or self.tag

    @property
    def hostname(self) -> str:
        """The host without port and brackets."""
        found = _HOST.fullmatch(self.host)
        return found["name"].strip("[]") if found else self.host

    def __str__(self) -> str:
        return f"{self.host}/{self.repository}" + (f"@{self.digest}" if self.digest else f":{self.tag}")


def parse(text: str) -> Reference:
    """The reference that *text* is; without tag and digest, the tag is ``latest``.

    Raises:
        SpecError: it is none, or its host is an address that no registry has.
    """
    host, slash, path = text.partition("/")
    if not slash:
        raise SpecError("a reference names the registry's host first", where=shown(text), try_this=_SHAPE)
    _check_host(host, text)
    path, at, digest = path.partition("@")
    repository, colon, tag = path.partition(":")
    check_repository(repository, text)
    if at and not _DIGEST.fullmatch(digest):
        raise SpecError("after '@' comes sha256: and 64 small hexadecimal digits", where=shown(text), try_this=_SHAPE)
    if colon and (at or not _TAG.fullmatch(tag)):
        problem = "a reference has a tag or a digest, not both" if at else "this is not a tag"
        raise SpecError(problem, where=shown(text), try_this=_SHAPE)
    return Reference(host, repository, "" if at else tag or LATEST, digest)


def check_repository(repository: str, where: str) -> str:
    """*repository* itself, if it is the name of one.

    Raises:
        SpecError: it is not.
    """
    if len(repository) > _LONGEST or not _REPOSITORY.fullmatch(repository):
        raise SpecError(
            "this is not the name of a repository",
            where=shown(where),
            try_this="small letters and digits, joined by '.', '_', '-' or '/'",
        )
    return repository


def _check_host(host: str, text: str) -> None:
    found = _HOST.fullmatch(host)
    named = found and ("." in host or ":" in host or host == "localhost")
    if not found or not named or int(found["port"] or 1) not in range(1, 65536):
        raise SpecError(f"'{shown(host)}' is not the host of a registry", where=shown(text), try_this=_SHAPE)
    if is_forbidden(found["name"]):
        raise SpecError("this address is no registry's: link-local and metadata hosts are never called", where=host)


def shown(text: str) -> str:
    """*text* for an error: without a password before an '@', what a terminal would obey, and not without end."""
    shown = "".join(letter if letter.isprintable() else "?" for letter in _PASSWORD.sub("…@", text))
    return shown if len(shown) <= 120 else shown[:120] + "…"
