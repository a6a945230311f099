"""Seconds of one step of training: by stage train, or by a bare PyTorch loop over the model that the stage left."""

from __future__ import annotations

import itertools
import json
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from guideway.core.evidence import Evidence
from guideway.core.spec import Train


class Timed:
    """Meets ``core.protocols.Job`` and notes when each step was told."""

    def __init__(self, params: dict[str, Any], data: Path, out: Path) -> None:
        self.params: Mapping[str, Any] = params
        self.inputs: Mapping[str, Path] = {"data": data}
        self.root, self.out, self.resume = data, out, out.with_suffix(".resume")
        self.recalled: Sequence[Evidence] = ()
        self.runner: Mapping[str, Any] = {}
        self.told: list[tuple[float, float]] = []

    def progress(self, done: float, total: float, note: str = "") -> None:
        """Note the moment."""
        self.told.append((done, time.perf_counter()))

    def measure(self, *_some: object, **_more: object) -> None:
        """Nothing is kept."""

    def fact(self, text: str) -> None:
        """Nothing is kept."""


def main() -> None:
    """Print the median of the seconds of a step; the first two warm up."""
    what, data, out, asked = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), json.loads(sys.argv[4])
    train = msgspec.convert(
        {"architecture": asked["shape"], "steps": asked["steps"], "batch": asked["batch"], "validate_every": 10_000,
         "checkpoint_every": 10_000}, Train)  # fmt: skip
    moments = stage(train, data, out) if what == "stage" else bare(train, out)
    print(statistics.median(after - before for before, after in itertools.pairwise(moments[2:])))


def stage(train: Train, data: Path, out: Path) -> list[float]:
    """The moments at which stage train had done a step."""
    from guideway.pipeline.stages import train as room

    out.mkdir()
    job = Timed(msgspec.to_builtins(train), data, out)
    room.run(job)
    return [moment for done, moment in job.told if done > 0]


def bare(train: Train, out: Path) -> list[float]:
    """The moments of a loop with the same model, batches of the same size, the same optimiser and the same clipping."""
    import torch
    from transformers import AutoModelForCausalLM

    from guideway.pipeline.stages.threads import threads_for

    model: Any = AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32).train()
    torch.set_num_threads(threads_for(sum(weight.numel() for weight in model.parameters())))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    moments = []
    for _ in range(train.steps):
        ids = torch.randint(0, model.config.vocab_size, (train.batch, train.architecture.context))
        loss = model(input_ids=ids, labels=ids, use_cache=False).loss
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        moments.append(time.perf_counter() + 0 * loss.item())
    return moments


if __name__ == "__main__":
    main()
