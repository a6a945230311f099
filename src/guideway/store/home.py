"""The folder ``.guideway``: where everything lies."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec


class Home(msgspec.Struct, frozen=True):
    """Paths below one state folder. ``oci/`` holds blobs, ``state.db`` rows, ``run/`` what only lives while it runs."""

    path: Path

    @classmethod
    def of(cls, root: Path) -> Home:
        """``$GUIDEWAY_HOME``, or ``.guideway`` in *root*; made when absent, ``keys`` readable by the owner only."""
        path = Path(os.environ.get("GUIDEWAY_HOME") or root / ".guideway").absolute()
        home = cls(path)
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
    def database(self) -> Path:
        """The SQLite file."""
        return self.path / "state.db"

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

    def environment(self, name: str) -> Path:
        """What runs in one environment: route, keys and gateway settings."""
        return self.run / "env" / name
