"""The folder ``.guideway``: where everything lies."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

_SQLITE = "sqlite:///"


class Home(msgspec.Struct, frozen=True):
    """Paths below one state folder. ``oci/`` holds blobs, ``run/`` what only lives while it runs.

    ``url`` says where the rows are, when they are not in ``state.db``; ``copies`` is a second folder for the
    checkpoints of the ledger.
    """

    path: Path
    url: str = ""
    copies: str = ""

    def __repr__(self) -> str:  # a password may be in the URL
        return f"Home({str(self.path)!r})"

    @classmethod
    def of(cls, root: Path, url: str = "") -> Home:
        """``$GUIDEWAY_HOME``, or ``.guideway`` in *root*; made when absent, ``keys`` readable by the owner only.

        ``$GUIDEWAY_STATE`` goes before *url*; a relative SQLite file starts at *root*.
        """
        path = Path(os.environ.get("GUIDEWAY_HOME") or root / ".guideway").absolute()
        url = os.environ.get("GUIDEWAY_STATE") or url
        if url.startswith(_SQLITE):
            url = _SQLITE + str((root / url.removeprefix(_SQLITE)).absolute())
        home = cls(path, url, os.environ.get("GUIDEWAY_CHECKPOINTS", ""))
        for folder in (home.oci, home.run, home.logs):
            folder.mkdir(parents=True, exist_ok=True)
        for private in (home.keys, home.run):
            private.mkdir(mode=0o700, exist_ok=True)
            private.chmod(0o700)
        ignore = path / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n", encoding="utf-8")
        return home

    @property
    def oci(self) -> Path:
        """The OCI image layout with all blobs."""
        return self.path / "oci"

    @property
    def database(self) -> Path | str:
        """What `Database` opens: the SQLite file, or the URL of a server."""
        if self.url.startswith(_SQLITE):
            return Path(self.url.removeprefix(_SQLITE))
        return self.url or self.path / "state.db"

    @property
    def shared(self) -> bool:
        """May other machines have this state too?"""
        return isinstance(self.database, str)

    @property
    def has_state(self) -> bool:
        """Is the state still there? Of a server nobody can delete a file; there the blobs count."""
        return self.database.exists() if isinstance(self.database, Path) else self.oci.is_dir()

    @property
    def controller(self) -> Path:
        """The lock that the controller holds for as long as it lives; it touches it after its rounds."""
        return self.run / "controller.lock"

    def round_age(self, now: float) -> float | None:
        """Seconds since the controller of this host ended a round, at *now* (since 1970); None: none ever did."""
        try:
            return max(0.0, now - self.controller.stat().st_mtime)
        except FileNotFoundError:
            return None

    @property
    def owner(self) -> Path:
        """Which database the last controller acted for."""
        return self.run / "controller.database"

    @property
    def noted(self) -> str:
        """The database that the last controller acted for, without its password; empty where none ran."""
        return self.owner.read_text(encoding="utf-8") if self.owner.exists() else ""

    @property
    def run(self) -> Path:
        """Locks, sockets, routes, work folders, unpacked releases."""
        return self.path / "run"

    @property
    def logs(self) -> Path:
        """One log per process and per step."""
        return self.path / "logs"

    @property
    def keys(self) -> Path:
        """Signing keys and the pepper, mode 0700."""
        return self.path / "keys"

    @property
    def checkpoints(self) -> Path:
        """Signed checkpoints of the ledger, outside the database."""
        return self.path / "checkpoints"

    def environment(self, name: str) -> Path:
        """What runs in one environment: route, keys and gateway settings."""
        return self.run / "env" / name
