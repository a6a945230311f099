"""Measure tuning: how much of a search is spent outside of training, and what that time is."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.record import Figure, quietly, write
from benchmarks.trials import nothing, timed
from guideway.core.spec import Spec, load
from guideway.pipeline.stages import train as train_stage
from guideway.pipeline.stages.tune.pool import Pool
from guideway.pipeline.stages.tune.rows import JUDGING, hold_out
from guideway.pipeline.stages.tune.search import search
from guideway.pipeline.stages.tune.space import Trial
from guideway.pipeline.stages.tune.study import opened
from guideway.pipeline.stages.tune.trial import Asked

EXAMPLE = Path(__file__).parents[1] / "examples" / "pydoc-assistant"
TRIALS, STEPS = 20, 200
SEARCH = {"learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}, "weight_decay": {"low": 0, "high": 0.5}}


def main() -> None:
    """Measure in a temporary folder, and write the results."""
    with tempfile.TemporaryDirectory(prefix="guideway-bench-") as name:
        root = Path(name) / "example"
        shutil.copytree(EXAMPLE, root)
        quietly([sys.executable, "make_data.py"], root)
        spec = _spec(root)
        data = _data(spec, root)
        figures = measure(spec, data, Path(name))
    print()
    write("tune", figures)


def measure(spec: Spec, data: Path, folder: Path) -> list[Figure]:
    """A search of the example, one trial at a time, none ended early; and one whose trials do nothing."""
    wall, inside = _seconds(spec, data, folder / "real", timed)
    idle, _ = _seconds(spec, data, folder / "idle", nothing)
    judged = inside["validate"] / inside["run"]
    print(
        f"{wall:.1f} s, of which {inside['run']:.1f} s in training and {judged:.1%} of that in validations", flush=True
    )
    note = f"{TRIALS} trials of {STEPS} steps, {inside['run'] / TRIALS:.1f} s of training each, one at a time, TPE"
    alone = "trials that do nothing: process, sampler, pruner and journal"
    return [
        Figure("time of a search outside of training", 100 * (wall - inside["run"]) / wall, "%", must=5.0, note=note),
        Figure("the same, a trial", (wall - inside["run"]) / TRIALS, "s", note="with model, tokenizer and token ids"),
        Figure("a trial without any work", idle / TRIALS * 1000, "ms", note=alone),
        Figure("validations, of the training in a trial", 100 * judged, "%", note="ten in a trial, at most 400 rows"),
    ]


def _seconds(spec: Spec, data: Path, folder: Path, work: Any) -> tuple[float, dict[str, float]]:
    """How long a whole search takes, rows held out and all, and what its trials noted."""
    assert spec.tune
    (folder / "work").mkdir(parents=True)
    plain = dict(train_stage.params(spec))
    began = time.perf_counter()
    with opened(folder, spec.tune, spec.train) as study:
        pool = Pool(work, 1)
        hold_out(data, folder / "rows", spec.tune)

        def asked(trial: Trial) -> Asked:
            train = msgspec.structs.replace(spec.train, seed=trial.seed, steps=STEPS, **trial.parameters)
            return Asked(train, plain, None, folder / "rows", JUDGING, data, folder / "work")

        search(study, pool, asked, lambda trials: None)
    wall = time.perf_counter() - began
    notes = [msgspec.json.decode(path.read_bytes()) for path in (folder / "work").glob("*.json")]
    return wall, {name: sum(one[name] for one in notes) for name in ("run", "validate")}


def _spec(root: Path) -> Spec:
    """The example with a search."""
    path = root / "guideway.yaml"
    tune = {"search": SEARCH, "trials": TRIALS, "steps": STEPS, "prune": False}
    text = path.read_text(encoding="utf-8") + "\ntune: " + msgspec.json.encode(tune).decode() + "\n"
    path.write_text(text, encoding="utf-8")
    return load(path).spec


def _data(spec: Spec, root: Path) -> Path:
    """What stage data makes of the example, by a build that only goes so far."""
    from guideway.pipeline.run import run
    from guideway.pipeline.stages import STAGES
    from guideway.pipeline.workshop import open_workshop
    from guideway.store.home import Home

    shop = open_workshop(Home.of(root))
    result = run(spec, root, {"data": STAGES["data"]}, shop, lambda event: None)["data"]
    out = root / "data-out"
    out.mkdir()
    shop.blobs.lay_out(result.artifact.files, out)
    return out


if __name__ == "__main__":
    main()
