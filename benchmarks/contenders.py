"""Those who are measured side by side: each a process that stands still while it is not its turn."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks import streams
from benchmarks.decode_model import NAME, word
from benchmarks.streams import Round
from guideway.core.release import ServeSettings
from guideway.engines import engine
from guideway.engines.vllm import interpreter
from guideway.kit.process import free_port
from guideway.pipeline.environment import interpreter_for

HERE = Path(__file__).parent
START = 240.0
"""Seconds that a server may take until its first token."""
FIRST = [word(5)]

Prompts = Sequence[Sequence[int]]


class Contender(NamedTuple):
    """One of them, and how it plays a round: token ids of prompts, tokens of each answer."""

    name: str
    process: subprocess.Popen[bytes]
    play: Callable[[Prompts, int], Round]

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Let it run; it stands still before and after."""
        os.killpg(self.process.pid, signal.SIGCONT)
        try:
            yield
        finally:
            os.killpg(self.process.pid, signal.SIGSTOP)


@contextlib.contextmanager
def ours(folder: Path, name: str, precision: str) -> Iterator[Contender]:
    """Our own server over the release ``NAME-PRECISION``, started as engine *name* starts it."""
    argv, env, port = our_launch(folder, name, precision)
    with _server(f"{name} {precision}", argv, env, port, NAME) as contender:
        yield contender


def our_launch(folder: Path, name: str, precision: str) -> tuple[tuple[str, ...], dict[str, str], int]:
    """Arguments, environment and port of our own server."""
    settings, port = ServeSettings(name=NAME, task="chat", engine=name), free_port()
    launch = engine(name).launch(folder / f"{name}-{precision}", settings, port=port, threads=threads())
    return launch.argv, {**os.environ, **dict(launch.env)}, port


@contextlib.contextmanager
def transformers(folder: Path, environments: Path) -> Iterator[Contender]:
    """``transformers serve --continuous-batching`` over the model as it was made, in float32.

    A tenth of the memory is room for far more than sixteen answers; by itself it would take nearly all of it.
    """
    python = interpreter_for(HERE / "peers-transformers.txt", environments, environments / "transformers.log")
    port, model = free_port(), str(folder / "hf")
    argv = (str(python), "-c", "from transformers.cli.transformers import main; main()", "serve", model,
            "--continuous-batching", "--cb-max-memory-percent", "0.1", "--device", "cpu", "--dtype", "float32",
            "--host", "127.0.0.1", "--port", str(port))  # fmt: skip
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "OMP_NUM_THREADS": str(threads())}
    with _server("transformers fp32", argv, env, port, model) as contender:
        yield contender


@contextlib.contextmanager
def vllm(folder: Path, precision: str) -> Iterator[Contender]:
    """vLLM's own server as it comes, over the model in float32 or in eight bits (``w8a8``).

    Raises:
        Unavailable: ``$GUIDEWAY_VLLM`` names no interpreter that has it.
    """
    port, model = free_port(), str(folder / {"fp32": "hf", "w8a8": "vllm-w8a8"}[precision])
    dtype = {"fp32": "float32", "w8a8": "bfloat16"}[precision]
    argv = (interpreter(), "-m", "vllm.entrypoints.openai.api_server", "--model", model, "--dtype", dtype,
            "--served-model-name", NAME, "--no-enable-prefix-caching",
            "--host", "127.0.0.1", "--port", str(port))  # fmt: skip
    env = {**os.environ, "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1",
           "VLLM_LOGGING_LEVEL": "WARNING", "OMP_NUM_THREADS": str(threads())}  # fmt: skip
    with _server(f"vllm {precision}", argv, env, port, NAME) as contender:
        yield contender


@contextlib.contextmanager
def openvino_genai(folder: Path, environments: Path, precision: str) -> Iterator[Contender]:
    """OpenVINO GenAI's ContinuousBatchingPipeline, without a server before it."""
    python = interpreter_for(HERE / "peers-openvino.txt", environments, environments / "openvino.log")
    model = folder / f"openvino-{precision}" / "model"
    argv = [str(python), str(HERE / "decode_openvino.py"), str(model), str(threads())]
    with _stopped(argv, dict(os.environ)) as process:

        def play(prompts: Prompts, tokens: int) -> Round:
            assert process.stdin and process.stdout
            process.stdin.write(
                json.dumps({"prompts": [list(one) for one in prompts], "tokens": tokens}).encode() + b"\n"
            )
            process.stdin.flush()
            line = process.stdout.readline()
            if not line:
                raise SystemExit(f"the pipeline ended with status {process.wait()}")
            return Round(**json.loads(line))

        yield Contender(f"pipeline {precision}", process, play)


def threads() -> int:
    """As many as there are processors, for all alike."""
    return len(os.sched_getaffinity(0))


def first_token(process: subprocess.Popen[bytes], port: int, model: str, patience: float = START) -> None:
    """Ask until a token comes.

    Raises:
        SystemExit: none came in time, or *process* has ended.
    """
    end = time.monotonic() + patience
    while True:
        try:
            streams.play(port, model, FIRST, 1)
            return
        except (OSError, SystemExit):
            if process.poll() is not None:
                raise SystemExit(f"its server ended with status {process.returncode}") from None
            if time.monotonic() > end:
                raise SystemExit(f"{model} gave no token in {patience:.0f} s") from None
            time.sleep(0.002)


@contextlib.contextmanager
def _server(name: str, argv: Sequence[str], env: Mapping[str, str], port: int, model: str) -> Iterator[Contender]:
    with _stopped(argv, env) as process:
        first_token(process, port, model)

        def play(prompts: Prompts, tokens: int) -> Round:
            return streams.play(port, model, [" ".join(map(word, ids)) for ids in prompts], tokens)

        yield Contender(name, process, play)


@contextlib.contextmanager
def _stopped(argv: Sequence[str], env: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a group of its own, which is gone afterwards."""
    with subprocess.Popen(
        argv, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=sys.stderr, start_new_session=True
    ) as process:
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
