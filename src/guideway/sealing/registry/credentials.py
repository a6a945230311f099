"""Who we are to a registry: said by the caller, by the environment, or by docker's ``config.json``."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from guideway.core.errors import SpecError

USER = "GUIDEWAY_REGISTRY_USER"
PASSWORD = "GUIDEWAY_REGISTRY_PASSWORD"


class Credentials(NamedTuple):
    """A user name and a password. Printing it shows no password."""

    username: str
    password: str

    def __repr__(self) -> str:
        return f"Credentials({self.username!r})"

    @property
    def basic(self) -> str:
        """The value of an ``Authorization`` header."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


class _Entry(msgspec.Struct):
    auth: str = ""


class _DockerConfig(msgspec.Struct):
    auths: dict[str, _Entry] = {}


def find(host: str, environment: Mapping[str, str]) -> Credentials | None:
    """The credentials for *host* from the environment, or else from docker's configuration; None to go without.

    Raises:
        SpecError: only one of the two variables is set, or the configuration cannot be read.
    """
    username, password = environment.get(USER, ""), environment.get(PASSWORD, "")
    if username or password:
        return checked(username, password, where=f"{USER}, {PASSWORD}")
    folder = Path(environment.get("DOCKER_CONFIG") or Path(environment.get("HOME", "/")) / ".docker")
    return _of_docker(host, folder / "config.json")


def checked(username: str, password: str, *, where: str) -> Credentials:
    """Both parts together, if they can be sent.

    Raises:
        SpecError: one is missing or holds what a header cannot carry.
    """
    if not username or not password:
        raise SpecError("a user name and a password are only used together", where=where, try_this="set both")
    if ":" in username or not (username + password).isprintable():
        raise SpecError("user name or password holds a character that cannot be sent", where=where)
    return Credentials(username, password)


def _of_docker(host: str, path: Path) -> Credentials | None:
    """Only entries in the file itself count: a helper is a program, and none is started."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=_DockerConfig)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None
    except (msgspec.DecodeError, RecursionError):
        raise SpecError("this is not docker's configuration", where=str(path), try_this="mend or move it") from None
    for name, entry in found.auths.items():
        if name.removeprefix("https://").removeprefix("http://").partition("/")[0] == host and entry.auth:
            try:
                text = base64.b64decode(entry.auth, validate=True).decode()
            except (binascii.Error, UnicodeDecodeError):
                raise SpecError(f"the entry for '{host}' is not base64", where=str(path)) from None
            username, _, password = text.partition(":")
            return checked(username, password, where=f"{path}: {host}")
    return None
