"""The process of one step: started with its job, heard while it works, ended when we are."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import msgspec

from guideway.core.errors import GuidewayError
from guideway.core.events import Event, Progress, StepFailed
from guideway.kit.files import write_atomic
from guideway.pipeline.worker import Broke, JobFile, Message, Moved, error_of

Emit = Callable[[Event], None]
"""Told of everything that happens in a build."""


def run_process(job: JobFile, folder: Path, interpreter: str, log: Path, emit: Emit) -> list[Message]:
    """Start the worker, pass its progress on, and return what it said.

    Raises:
        GuidewayError: the stage failed, or its process ended otherwise; *log* has what it wrote.
    """
    asked = folder / "job.json"
    write_atomic(asked, msgspec.json.encode(job), durable=False)
    log.parent.mkdir(parents=True, exist_ok=True)
    hear, speak = os.pipe()
    with log.open("wb") as output, os.fdopen(hear, "rb") as voice:
        process = subprocess.Popen(
            [interpreter, "-P", "-m", "guideway.pipeline.worker", str(asked), str(speak)],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=(speak,),
            start_new_session=True,
            cwd=folder,
            env=_environment(),
        )
        os.close(speak)
        try:
            messages = list(_heard(voice, job.stage, emit))
            status = process.wait()
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
        finally:
            assert process.stdin
            process.stdin.close()
    if status != 0:
        raise _failure(job.stage, status, messages, log, emit)
    return messages


def _environment() -> dict[str, str]:
    """What a stage inherits: everything but the URL of the state, which may hold a password."""
    kept = {name: value for name, value in os.environ.items() if name != "GUIDEWAY_STATE"}
    return {"OMP_WAIT_POLICY": "PASSIVE", **kept}  # threads that spin stand still on a busy machine


def _heard(voice: IO[bytes], stage: str, emit: Emit) -> Iterator[Message]:
    decoder = msgspec.json.Decoder(Message)
    for line in voice:
        message: Message = decoder.decode(line)
        if isinstance(message, Moved):
            emit(Progress(stage, message.done, message.total, message.note))
        else:
            yield message


def _failure(stage: str, status: int, messages: list[Message], log: Path, emit: Emit) -> GuidewayError:
    broke = next((message for message in messages if isinstance(message, Broke)), None)
    if broke:
        error = error_of(broke, f"stage {stage} failed: ")
    elif status == -signal.SIGKILL:
        error = GuidewayError(
            f"stage {stage} was killed", where=str(log), try_this="if memory ran out: a smaller batch or model"
        )
    else:
        error = GuidewayError(f"stage {stage} ended with status {status}", where=str(log), try_this="read the log")
    emit(StepFailed(stage, error.what, str(log)))
    return error
