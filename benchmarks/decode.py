"""Measure decoding: our own servers beside their peers, round by round on the same prompts. `make bench-decode`.

The peers come from the registry, each into an environment of its own, but for vLLM, whose interpreter the host names in
``$GUIDEWAY_VLLM``; one that cannot be installed or started is told as not measured, and never as reached.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import contenders, decode_model
from benchmarks.contenders import Contender
from benchmarks.record import Figure, quietly, write
from guideway.core.errors import GuidewayError
from guideway.engines.vllm import INTERPRETER
from guideway.pipeline.environment import interpreter_for
from guideway.pipeline.stages.compress.race import Estimate, median
from guideway.pipeline.stages.formats import FORMATS

PLACE = Path(__file__).parents[1] / ".bench" / "decode"
PROMPT = 32
"""Tokens of a prompt; nobody has read it before."""
STREAMS = (1, 16)
SEED = 7


class Pair(NamedTuple):
    """Who is held against whom, and what the ratio must reach with one stream and with sixteen; None: only told."""

    own: str
    peer: str
    must: tuple[float | None, float | None]


PAIRS = (
    Pair("onnx int4", "transformers fp32", (3.0, 1.5)),
    Pair("onnx int8", "transformers fp32", (3.0, 1.5)),
    Pair("onnx int4", "vllm fp32", (3.0, 1.5)),
    Pair("onnx int8", "vllm w8a8", (3.0, 1.5)),
    Pair("openvino int8", "vllm w8a8", (None, None)),
    Pair("onnx int8", "pipeline int8", (1.0, 1.0)),
    Pair("onnx int4", "pipeline int4", (1.0, 1.0)),
    Pair("openvino int8", "pipeline int8", (1.0, 1.0)),
    Pair("openvino int4", "pipeline int4", (1.0, 1.0)),
    Pair("openvino int8", "onnx int8", (None, None)),
    Pair("openvino int4", "onnx int4", (None, None)),
)


def main() -> None:
    """Make what is missing, measure, write the results."""
    asked = argparse.ArgumentParser(description="Measure decoding beside peers.")
    asked.add_argument("--rounds", type=int, default=9)
    asked.add_argument("--tokens", type=int, default=64, help="tokens of every answer")
    asked.add_argument("--starts", type=int, default=9, help="cold starts")
    asked.add_argument("--place", type=Path, default=PLACE, help="folder for the exports, which are kept")
    arguments = asked.parse_args()
    place = arguments.place.resolve()
    prepare(place)
    figures = cold_start(place, arguments.starts)
    speeds, missing = race(place, arguments.rounds, arguments.tokens)
    print()
    write("decode", [*ratios(speeds, missing, arguments.tokens), *figures, *told(speeds)])


def prepare(place: Path) -> None:
    """Make the model, its exports and their releases, once."""
    place.mkdir(parents=True, exist_ok=True)
    wanted = {"onnx": "onnx", "openvino": "openvino"}
    if os.environ.get(INTERPRETER):
        wanted["vllm"] = "compressed-tensors"
    for name, made in wanted.items():
        if (place / f"{name}-done").is_file():
            continue
        print(f"making exports of a model of 109.5M weights for {name}, some minutes", flush=True)
        requirements = FORMATS[made].environment
        python = requirements and interpreter_for(requirements, place / "environments", place / "environment.log")
        quietly([str(python or sys.executable), str(Path(decode_model.__file__)), str(place), name], place)


def race(place: Path, rounds: int, tokens: int) -> tuple[dict[str, list[list[float]]], dict[str, str]]:
    """Tokens per second of each contender: for each number of streams, round by round; and who is missing, and why."""
    missing: dict[str, str] = {}
    draw = random.Random(SEED)
    with contextlib.ExitStack() as stack:
        there = list(_started(stack, place, missing))
        found: dict[str, list[list[float]]] = {one.name: [[] for _ in STREAMS] for one in there}
        for number in range(-1, rounds):  # the first round warms up
            for at, count in enumerate(STREAMS):
                prompts = [draw.choices(range(3, decode_model.SHAPE["vocab_size"]), k=PROMPT) for _ in range(count)]
                for one in there:
                    with one.turn():
                        speed = one.play(prompts, tokens).speed
                    if number >= 0:
                        found[one.name][at].append(speed)
            print(f"round {number + 1} of {rounds}", flush=True)
    return found, missing


def _started(stack: contextlib.ExitStack, place: Path, missing: dict[str, str]) -> Iterator[Contender]:
    """Everyone who can be started, each standing still; those who cannot are noted as *missing*."""
    environments = place / "environments"
    for name, starts in (
        *(
            (f"{name} {one}", contenders.ours(place, name, one))
            for name in ("onnx", "openvino")
            for one in ("int8", "int4")
        ),
        ("transformers fp32", contenders.transformers(place, environments)),
        *((f"vllm {one}", contenders.vllm(place, one)) for one in ("fp32", "w8a8")),
        *((f"pipeline {one}", contenders.openvino_genai(place, environments, one)) for one in ("int8", "int4")),
    ):
        try:
            contender = stack.enter_context(starts)
        except (GuidewayError, OSError, SystemExit) as error:
            missing[name] = str(error).splitlines()[0][:200]
            print(f"not measured: {name}: {missing[name]}", flush=True)
            continue
        os.killpg(contender.process.pid, signal.SIGSTOP)
        yield contender


def ratios(speeds: dict[str, list[list[float]]], missing: dict[str, str], tokens: int) -> list[Figure]:
    """How many times as fast ours are as their peers, in pairs: the median over rounds."""
    found = []
    for pair in PAIRS:
        for at, count in enumerate(STREAMS):
            name = f"{pair.own} against {pair.peer}, {count} {'stream' if count == 1 else 'streams'}"
            absent = [one for one in (pair.own, pair.peer) if one in missing]
            if absent:
                why = "; ".join(f"{one}: {missing[one]}" for one in absent)
                found.append(
                    Figure(
                        name, 0.0, "ratio", peer=None, note=f"not measured{_must(pair.must[at])}: {why}", larger=True
                    )
                )
                continue
            own, peer = speeds[pair.own][at], speeds[pair.peer][at]
            ratio = median([one / other for one, other in zip(own, peer, strict=True)])
            both = f"{statistics.median(own):.0f} and {statistics.median(peer):.0f} tokens/s"
            note = f"{_within(ratio)}; {both}, {tokens} tokens each"
            found.append(Figure(name, ratio.value, "ratio", must=pair.must[at], peer=pair.peer, note=note, larger=True))
    return found


def _must(ratio: float | None) -> str:
    return "" if ratio is None else f", must reach {ratio:g}"


def told(speeds: dict[str, list[list[float]]]) -> list[Figure]:
    """The speed of everyone, for those who want the plain number."""
    return [
        Figure(f"{name}, {count} at once", statistics.median(rounds[at]), "tok/s", note=_within(median(rounds[at])))
        for name, rounds in speeds.items()
        for at, count in enumerate(STREAMS)
    ]


def cold_start(place: Path, times: int) -> list[Figure]:
    """Seconds from the start of the process to its first token, over HTTP, for both of our engines in int4."""
    found = []
    for name in ("onnx", "openvino"):
        try:
            spent = [_start(place, name) for _ in range(times)]
        except SystemExit as error:
            found.append(Figure(f"cold start, {name} int4", 0.0, "s", peer=None, note=f"not measured: {error}"))
            continue
        must = 1.5 if name == "onnx" else None
        found.append(
            Figure(f"cold start, {name} int4", statistics.median(spent), "s", must=must, note=_within(median(spent)))
        )
    return found


def _start(place: Path, name: str) -> float:
    argv, env, port = contenders.our_launch(place, name, "int4")
    began = time.perf_counter()
    with subprocess.Popen(argv, env=env, stderr=subprocess.DEVNULL, start_new_session=True) as process:
        try:
            contenders.first_token(process, port, decode_model.NAME, patience=30)
            return time.perf_counter() - began
        finally:
            process.kill()


def _within(one: Estimate) -> str:
    return f"95 % within {one.interval.low:.2f} and {one.interval.high:.2f}"


if __name__ == "__main__":
    main()
