"""What the operating system grants a process of ours: how many files it may open, and that it leaves no core."""

from __future__ import annotations

import contextlib
import resource

from guideway.core.errors import Unavailable

RESERVE = 64
"""Descriptors that clients never get: listener, files that are followed, limiter, caches, spools, questions."""
PER_CLIENT = 2
"""A connection of a client may need one to a replica."""
LEAST = 256
NO_CORE = 1
"""Bytes: too few for a core in a file, and the one limit at which the kernel hands none to a program either."""


def leave_no_core() -> None:
    """Keep keys and prompts out of core dumps: of this process, and of all that it starts."""
    resource.setrlimit(resource.RLIMIT_CORE, (min(NO_CORE, _hard(resource.RLIMIT_CORE)),) * 2)


def check_files() -> None:
    """Refuse to start where hardly a client could be served.

    Raises:
        Unavailable: a process may open too few files.
    """
    most = _hard(resource.RLIMIT_NOFILE)
    if most < LEAST:
        advice = f"raise the limit to {LEAST} or more: 'ulimit -Hn', or LimitNOFILE= of the service"
        raise Unavailable(f"a process may open {most} files only", where="RLIMIT_NOFILE", try_this=advice)


def connections(wanted: int) -> int:
    """How many connections of clients this process may have, at most *wanted*; its soft limit is raised for them."""
    return min(wanted, (_raise_files(wanted * PER_CLIENT + RESERVE) - RESERVE) // PER_CLIENT)


def _raise_files(wanted: int) -> int:
    """Make the soft limit of open files *wanted*, or as much as may be; returns what it is then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft = _finite(soft)
    if soft < wanted and soft < _finite(hard):
        with contextlib.suppress(ValueError, OSError):  # some systems have a lower bound that they do not tell
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, _finite(hard)), hard))
    return _finite(resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def _hard(what: int) -> int:
    return _finite(resource.getrlimit(what)[1])


def _finite(limit: int) -> int:
    return limit if limit != resource.RLIM_INFINITY else 2**31
