"""A replica whose model takes one step for each byte on standard input: so a test decides how far an answer is."""

import sys
from pathlib import Path

from replica_fakes import Reciting

from guideway.replica.backend import Backend
from guideway.replica.serve import serve


class Permits:
    """Standard input as a semaphore."""

    def acquire(self, timeout: float) -> bool:
        return bool(sys.stdin.buffer.read(1))


def open_backend(_folder: Path, slots: int, _threads: int, _context: int | None) -> Backend:
    model = Reciting([75, 76, 77], 280, slots=slots)
    model.permits = Permits()
    return model


if __name__ == "__main__":
    sys.exit(serve("stepped_server", sys.argv[1:], open_backend))
