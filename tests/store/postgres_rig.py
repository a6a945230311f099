"""A real PostgreSQL for tests: started once, on a free loopback port, in a folder of its own; and both kinds of state.

Another folder of tests uses it by one line in its conftest, after putting this folder on the path:
``from postgres_rig import postgres, where``.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from guideway.kit.process import free_port

USER, PASSWORD = "guideway", "s3cret/word"
PACKAGES = Path("/usr/lib/postgresql")
"""Where Debian puts the programs of each version."""


class Server:
    """One PostgreSQL. Its collation compares digits as numbers, so that code which trusts collations fails here."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="guideway-postgres-", dir="/tmp"))
        self.port, self._count = free_port(), 0
        self._process: subprocess.Popen[bytes] | None = None
        self._as: dict[str, Any] = {}
        if os.geteuid() == 0:  # the server refuses to run as root
            account = _account()
            os.chown(self.folder, account.pw_uid, account.pw_gid)
            self._as = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        self._make()
        self.start()

    def url(self, database: str, password: str = "s3cret%2Fword") -> str:
        return f"postgresql://{USER}:{password}@127.0.0.1:{self.port}/{database}"

    def fresh(self) -> str:
        """The URL of a new, empty database."""
        self._count += 1
        name = f"state_{self._count}"
        with self.connect("postgres") as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        return self.url(name)

    def connect(self, database: str) -> psycopg.Connection[Any]:
        """A connection of the owner, past our own code, in autocommit."""
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user=USER, password=PASSWORD, dbname=database, autocommit=True
        )

    def start(self) -> None:
        """Start the server, or start it again, and wait until it answers."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": self.folder,
            "fsync": "off",
            "full_page_writes": "off",
            "shared_buffers": "32MB",
            "max_connections": 60,
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [_program("postgres"), "-D", str(self.folder / "data"), *options],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                **self._as,
            )
        deadline = time.monotonic() + 30
        while True:
            with contextlib.suppress(psycopg.OperationalError):
                self.connect("postgres").close()
                return
            if self._process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"PostgreSQL does not start:\n{(self.folder / 'log').read_text()[-2000:]}")
            time.sleep(0.02)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop the server at once; whoever is connected loses the connection."""
        if self._process:
            self._process.send_signal(how)
            self._process.wait(30)
            self._process = None

    def remove(self) -> None:
        """End without the checkpoint of an orderly shutdown: hundreds of databases are thrown away."""
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _make(self) -> None:
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        os.chown(secret, self.folder.stat().st_uid, self.folder.stat().st_gid)
        words = ["-D", str(self.folder / "data"), "-U", USER, "--pwfile", str(secret), "-A", "scram-sha-256"]
        words += ["-E", "UTF8", "--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en-u-kn-true", "--no-sync"]
        done = subprocess.run(
            [_program("initdb"), *words], capture_output=True, text=True, cwd=self.folder, check=False, **self._as
        )
        if done.returncode != 0:
            pytest.fail(f"initdb failed:\n{done.stdout[-1000:]}{done.stderr[-1000:]}")


def _program(name: str) -> str:
    packaged = sorted(PACKAGES.glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3]))
    found = str(packaged[-1]) if packaged else shutil.which(name)
    if not found:
        pytest.fail(f"these tests start a PostgreSQL, and '{name}' is not here: apt-get install postgresql")
    return found


def _account() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        pytest.fail("PostgreSQL does not run as root, and there is no user 'postgres': apt-get install postgresql")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """The server of this run."""
    server = Server()
    yield server
    server.remove()


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    """Where a new, empty state lies: a file, and then a database of a server."""
    if request.param == "sqlite":
        return tmp_path / "state.db"
    server: Server = request.getfixturevalue("postgres")
    return server.fresh()


def as_owner(where: Path | str, *statements: str) -> list[tuple[Any, ...]]:
    """Run SQL past our own code, as whoever owns the database could; the rows of the last statement."""
    if isinstance(where, Path):
        with contextlib.closing(sqlite3.connect(where, isolation_level=None)) as file:
            found = [file.execute(one).fetchall() for one in statements]
        return found[-1]
    with psycopg.connect(where, autocommit=True) as connection:
        cursors = [connection.execute(one) for one in statements]
        return cursors[-1].fetchall() if cursors[-1].description else []


def unguarded(where: Path | str) -> None:
    """Take the triggers of the ledger away, as its owner can."""
    if isinstance(where, Path):
        as_owner(where, "DROP TRIGGER ledger_keeps_what_is_written", "DROP TRIGGER ledger_keeps_every_line")
    else:
        as_owner(where, "ALTER TABLE ledger DISABLE TRIGGER USER")
