"""Measure the factory: what a build repeats and what it does not, and how fast training is beside a bare loop.

`make bench-factory` calls it. The bare loop is what PyTorch's documentation shows: same model, same size of batches.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.record import Figure, median_seconds, quietly, write
from guideway.pipeline.stages.compress.race import median

EXAMPLE = Path(__file__).parents[1] / "examples" / "pydoc-assistant"
GUIDEWAY = [sys.executable, "-P", "-m", "guideway.cli"]
SHAPE = {"layers": 11, "hidden": 640, "heads": 10, "kv_heads": 5, "feed_forward": 1760, "vocabulary": 8192,
         "context": 128}  # fmt: skip
"""About 52M weights."""
BATCH, STEPS, ROUNDS = 4, 8, 9
KILL_AT = 0.45
"""The share of the steps after which the training is killed."""


def main() -> None:
    """Measure everything in a temporary folder, and write the results."""
    with tempfile.TemporaryDirectory(prefix="guideway-bench-") as name:
        figures = [*repeated(Path(name) / "example"), *training(Path(name) / "training")]
    print()
    write("factory", figures)


def repeated(folder: Path) -> list[Figure]:
    """What a build does again: after a kill, when nothing changed, and when only a threshold did."""
    folder.mkdir()
    for source in EXAMPLE.iterdir():
        if source.is_file():
            shutil.copy(source, folder)
    quietly([sys.executable, "make_data.py"], folder)
    print("building the example, and killing it on the way", flush=True)
    reached, resumed, steps = killed_and_resumed(folder)
    checkpoint = -(-steps // 10)
    note = f"killed with -9 after step {reached} of {steps}, went on from {resumed}; a checkpoint each {checkpoint}"
    figures = [
        Figure("steps repeated after a kill", (reached - resumed) / checkpoint, "checkpoints", must=1.0, note=note)
    ]
    seconds = median_seconds(lambda: quietly([*GUIDEWAY, "build"], folder))
    figures.append(Figure("unchanged build", seconds, "s", must=0.5, aim=0.4, note="the command, start and all"))
    spec = folder / "guideway.yaml"
    spec.write_text(spec.read_text(encoding="utf-8").replace("at_least: 0.8", "at_least: 0.79"), encoding="utf-8")
    ran = [one["step"] for one in events(folder) if one["event"] == "started"]
    again, said = float(len(set(ran) - {"package", "scan"})), f"ran: {', '.join(ran) or 'none'}"
    return [*figures, Figure("stages run again for a changed threshold", again, "stages", must=0.0, note=said)]


def killed_and_resumed(folder: Path) -> tuple[int, int, int]:
    """The step that a training had reached when it was killed, the step it went on from, and all steps."""
    reached, steps = 0, 1
    for one in events(folder, until=lambda done, total: done >= KILL_AT * total):
        if one["event"] == "progress" and one["step"] == "train":
            reached, steps = int(one["done"]), int(one["total"])
    done = [int(one["done"]) for one in events(folder) if one["event"] == "progress" and one["step"] == "train"]
    first = next(step for step in done if step > 0)
    return reached, first - 1, steps


def events(folder: Path, until: Any = None) -> Iterator[Mapping[str, Any]]:
    """The events of one build; it is killed, with all its processes, once *until* is true of a training's progress."""
    building = subprocess.Popen(
        [*GUIDEWAY, "build", "--json"], cwd=folder, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert building.stdout
    for line in building.stdout:
        one = json.loads(line)
        yield one
        if until and one["event"] == "progress" and one["step"] == "train" and until(one["done"], one["total"]):
            os.kill(building.pid, signal.SIGKILL)  # the stage ends by itself: its builder is gone
            break
    building.wait()


def training(folder: Path) -> list[Figure]:
    """Seconds of a step of stage train beside those of a bare loop; in turns, so that both see the same machine."""
    data = folder / "data"
    data.mkdir(parents=True)
    draw, words = random.Random(7), [f"word{number}" for number in range(3000)]
    with (data / "train.jsonl").open("w", encoding="utf-8") as file:
        for number in range(300):
            text = " ".join(draw.choices(words, k=400))
            file.write(json.dumps({"id": str(number), "text": text, "source": 0, "fields": {}}) + "\n")
    (data / "manifest.json").write_text("{}", encoding="utf-8")
    ours, bare = [], []
    for number in range(ROUNDS):
        ours.append(_alone("stage", data, folder / f"out-{number}"))
        bare.append(_alone("bare", data, folder / f"out-{number}"))
        print(f"  a step: {ours[-1]:.2f} s, bare {bare[-1]:.2f} s", flush=True)
    ratio = median([other / own for own, other in zip(ours, bare, strict=True)])
    within = f"95 % within {ratio.interval.low:.2f} and {ratio.interval.high:.2f}"
    own, other = statistics.median(ours), statistics.median(bare)
    seconds = f"{own:.2f} s a step of {BATCH} x {SHAPE['context']} tokens, the bare loop {other:.2f} s"
    return [
        Figure(
            "training throughput, 50M weights",
            ratio.value,
            "ratio",
            must=0.95,
            peer="bare PyTorch loop",
            note=f"{seconds}; {within}",
            larger=True,
        )
    ]


def _alone(what: str, data: Path, out: Path) -> float:
    """Seconds of a step, measured in a process of its own."""
    code = Path(__file__).with_name("steps.py")
    asked = json.dumps({"shape": SHAPE, "batch": BATCH, "steps": STEPS})
    return float(quietly([sys.executable, str(code), what, str(data), str(out), asked], data).split()[-1])


if __name__ == "__main__":
    main()
