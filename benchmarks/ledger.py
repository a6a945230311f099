"""Measure the ledger: how fast a long one is verified, with its checkpoints, on SQLite."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.record import Figure, median_seconds
from guideway.core.artifact import canonical_json, digest_bytes
from guideway.signing.keys import signer, trusted
from guideway.store import checkpoints, ledger
from guideway.store.chain import line_hash
from guideway.store.database import Database
from guideway.store.home import Home

LINES = 200_000


def measure() -> list[Figure]:
    """Lines per second, the memory that the length of the ledger costs, and how long one more line takes."""
    with tempfile.TemporaryDirectory(prefix="guideway-bench-") as name:
        home = Home(Path(name))
        with Database(home.database) as database:
            _fill(home.path / "state.db", ledger.installation(database))
            by = signer(home.keys)
            checkpoints.make(database, home, by, time.time())
            seconds = median_seconds(lambda: _verify(database, home), 3)
            one = median_seconds(lambda: _append(database), 51)
        grown = _memory(home)
    rate, note = LINES / seconds, f"{LINES} lines, chain and checkpoint, SQLite"
    return [
        Figure("ledger verify", rate, "1/s", must=50_000, aim=100_000, note=note, larger=True),
        Figure("memory that verifying adds", grown, "MB", must=20, note="peak of a process of its own, less before"),
        Figure("one more line, durable", one * 1000, "ms", note="synchronous=FULL"),
    ]


def _verify(database: Database, home: Home) -> None:
    report = checkpoints.verify(database, checkpoints.folders(home), trusted(home.keys))
    assert report.lines >= LINES and not report.problems, report


def _append(database: Database) -> None:
    ledger.append(database, at=time.time(), who="bench", what="line", subject=digest_bytes(b""))


def _fill(file: Path, installation: str) -> None:
    """Lines like those of a build, in one transaction past our own code: one at a time would take minutes."""
    previous, rows = installation, []
    for seq in range(1, LINES + 1):
        data = canonical_json({"key": digest_bytes(b"%d" % seq), "seconds": seq / 7, "user": "ann"}).decode()
        subject, at = digest_bytes(b"subject %d" % seq), 1_800_000_000.0 + seq / 3
        fields = (seq, at, "guideway", "stage train", subject, "build", data, previous)
        previous = line_hash(fields)
        rows.append((*fields, previous))
    with contextlib.closing(sqlite3.connect(file)) as plain, plain:
        plain.executemany("INSERT INTO ledger VALUES (?,?,?,?,?,?,?,?,?)", rows)


def _memory(home: Home) -> float:
    """Megabytes by which the peak of a fresh process grows while it verifies."""
    code = (
        "import sys; from pathlib import Path; from guideway.store import ledger\n"
        "from guideway.store.database import Database\n"
        "peak = lambda: int(Path('/proc/self/status').read_text().partition('VmHWM:')[2].split()[0])\n"
        "database = Database(Path(sys.argv[1])); ledger.last(database); before = peak()\n"
        "ledger.verify(database); print((peak() - before) * 1024 / 1e6)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(home.database)], check=True, capture_output=True, text=True)
    return float(done.stdout)


if __name__ == "__main__":
    for figure in measure():
        print(figure)
