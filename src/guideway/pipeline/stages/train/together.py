"""Training by several processes of this machine: they are started, listened to, and end together.

Nothing is computed here. What the first of them says is passed on; when one dies, the others are ended at once,
and the next build goes on from the last checkpoint.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from guideway.core.errors import GuidewayError
from guideway.core.protocols import Job
from guideway.pipeline.stages.train.member import BASE, MEETING, RANK, SIZE
from guideway.pipeline.worker import Broke, JobFile, Measured, Message, Moved, Told, error_of

MEMBER = "guideway.pipeline.stages.train.member"
LAST_WORDS = 10.0
"""Seconds in which, after one has failed, the others may say why: the one that failed first may not be the cause."""
LOOPBACK = {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo"}
"""Processes of one machine speak on its loopback interface alone."""


class _Member(NamedTuple):
    rank: int
    process: subprocess.Popen[bytes]
    voice: int
    """Where it is heard."""


def together(job: Job, base: Path | None, size: int) -> None:
    """Train with *size* processes as ``learn`` would with one, from the model in *base* if there is one.

    Raises:
        GuidewayError: what training raises, or one of the processes died.
    """
    with tempfile.TemporaryDirectory(prefix="ranks-", dir=job.out.parent) as scratch:
        members = [_start(job, base, Path(scratch), rank, size) for rank in range(size)]
        try:
            broken = _listen(job, members)
        finally:
            for one in members:
                one.process.kill()
                one.process.wait()
                os.close(one.voice)
                assert one.process.stdin
                one.process.stdin.close()
    if broken:
        raise _failure(broken, size)


def _start(job: Job, base: Path | None, scratch: Path, rank: int, size: int) -> _Member:
    """Start one process. The first has the real output folder, the others have one that nobody reads."""
    aside = scratch / str(rank)
    (aside / "out").mkdir(parents=True)
    inputs = {**job.inputs, BASE: base} if base else job.inputs
    asked = JobFile(
        stage="train",
        module=MEMBER,
        params=dict(job.params),
        inputs={name: str(folder) for name, folder in inputs.items()},
        root=str(job.root),
        out=str(aside / "out" if rank else job.out),
        resume=str(aside / "resume" if rank else job.resume),
    )
    (aside / "job.json").write_bytes(msgspec.json.encode(asked))
    hear, speak = os.pipe()
    told = {RANK: str(rank), SIZE: str(size), MEETING: str(scratch / "meeting")}
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "guideway.pipeline.worker", str(aside / "job.json"), str(speak)],
        stdin=subprocess.PIPE,
        pass_fds=(speak,),
        cwd=aside,
        env={**os.environ, **LOOPBACK, **told},
    )
    os.close(speak)
    return _Member(rank, process, hear)


class _Ended(NamedTuple):
    """How one process ended, and what it said last."""

    rank: int
    status: int
    broke: Broke | None


def _listen(job: Job, members: list[_Member]) -> list[_Ended]:
    """Pass on what the first says until all have ended; those that failed, in the moments after the first failure."""
    failed: list[_Ended] = []
    said: dict[int, Broke] = {}
    with selectors.DefaultSelector() as selector:
        for one in members:
            selector.register(one.voice, selectors.EVENT_READ, (one, _Lines()))
        while selector.get_map():
            ready = selector.select(LAST_WORDS if failed else None)
            if not ready:
                break
            for key, _ in ready:
                member, lines = key.data
                data = os.read(member.voice, 1 << 16)
                for message in lines.of(data):
                    if isinstance(message, Broke):
                        said[member.rank] = message
                    elif member.rank == 0:
                        pass_on(job, message)
                if not data:
                    selector.unregister(member.voice)
                    status = member.process.wait()
                    failed += [_Ended(member.rank, status, said.get(member.rank))] if status else []
            if any(one.broke is None for one in failed):  # killed: nothing that others say would explain more
                break
    return failed


class _Lines:
    """Messages from pieces of text that end anywhere."""

    def __init__(self) -> None:
        self._rest = b""
        self._decoder = msgspec.json.Decoder(Message)

    def of(self, data: bytes) -> Iterator[Message]:
        """The messages that are whole now."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            yield self._decoder.decode(line)


def pass_on(job: Job, message: Message) -> None:
    """Say to *job* what another process said to its own."""
    match message:
        case Moved():
            job.progress(message.done, message.total, message.note)
        case Told():
            job.fact(message.text)
        case Measured():
            job.measure(
                message.metric,
                message.value,
                message.unit,
                about=message.about,
                n=message.n,
                interval=message.interval,
                slice=message.slice,
                source=message.source,
            )


def _failure(failed: list[_Ended], size: int) -> GuidewayError:
    """The cause among what *failed*: a death before a complaint, and a complaint before one about the others."""
    from guideway.pipeline.stages.train.ranks import GONE

    cause = min(failed, key=lambda one: (one.broke is not None, one.broke is not None and one.broke.what == GONE))
    if cause.broke:
        return error_of(cause.broke)
    how = "was killed" if cause.status == -signal.SIGKILL else f"ended with status {cause.status}"
    return GuidewayError(
        f"process {cause.rank + 1} of {size} {how}",
        where="train.processes",
        try_this="build again: it goes on from the last checkpoint; if memory ran out, with a smaller batch",
    )
