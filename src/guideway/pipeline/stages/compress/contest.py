"""The contest: every variant is exported and measured, one of them ships, and the report says why."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from guideway.core.errors import GuidewayError
from guideway.core.protocols import Job
from guideway.pipeline.stages.compress.choose import Candidate, Choice, Limits, Variant, choose, most_exact
from guideway.pipeline.stages.compress.distance import POSITIONS, Apart, compare, held_out, leave_distance
from guideway.pipeline.stages.compress.figures import Figure, cost_figures, distance_figures, said
from guideway.pipeline.stages.compress.prune import prune
from guideway.pipeline.stages.compress.race import ROUNDS, Load, gain, load_of, race
from guideway.pipeline.stages.compress.report import Report, write_report
from guideway.pipeline.stages.compress.sizes import packed, weights
from guideway.pipeline.stages.examples import Voice
from guideway.pipeline.stages.formats import FORMATS, export
from guideway.pipeline.stages.models import Compressed, Trained
from guideway.pipeline.stages.threads import threads_for

FLOAT = 4
"""Bytes of a weight as trained."""

Folders = Mapping[Variant, Path]


def contest(job: Job) -> None:
    """Measure what the parameters ask for, and leave the chosen export and the report in ``job.out``.

    Raises:
        Refused: no candidate keeps to the limits.
    """
    asked = job.params["precision"]
    limits = Limits(job.params["max_kl"], job.params["max_flips"])
    with tempfile.TemporaryDirectory(prefix=".contest-", dir=job.out.parent) as work:
        sources = {False: job.inputs["train"]}
        gone = prune(job, sources.setdefault(True, Path(work) / "pruned")) if job.params["prune"] else None
        folders = _exports(job, Path(work), sources)
        judged = _judge(job, folders)
        candidates = _measured(job, folders, judged)
        choice = _choice(job, candidates, limits)
        for path in folders[choice.chosen.variant].iterdir():
            shutil.move(path, job.out / path.name)
    _leave(job, candidates, choice)
    if gone is not None and choice.chosen.variant.pruned:
        job.measure("weights_pruned", gone, "share", about="out", source="train")
        job.fact(f"{gone:.1%} of the weights are gone")
    write_report(job.out, Report(candidates, choice, limits, judged.load, job.params["prune"], asked))


def variants_of(precision: str, candidates: Sequence[str], prunes: bool) -> list[Variant]:
    """What is measured: every candidate for ``auto``, and with pruning both what it leaves and what it came from."""
    asked = candidates if precision == "auto" else (precision,)
    return [Variant(one, pruned) for pruned in ([False, True] if prunes else [False]) for one in asked]


def _exports(job: Job, work: Path, sources: Mapping[bool, Path]) -> Folders:
    """One export for each variant; *sources* are the trained model and, under True, the pruned one.

    Raises:
        GuidewayError: none can be exported, or not the one that was asked for.
    """
    variants = variants_of(job.params["precision"], job.params.get("candidates", ()), True in sources)
    made, folders = FORMATS[job.params["format"]], dict[Variant, Path]()
    for number, variant in enumerate(variants):
        job.progress(20 + 20 * number / len(variants), 100, f"exporting to {variant.name}")
        folder = work / variant.name.replace(" ", "-")
        folder.mkdir()
        try:
            export(made, sources[variant.pruned], folder, variant.precision, job.inputs["data"])
            folders[variant] = folder
        except GuidewayError as error:
            if job.params["precision"] != "auto" or (not folders and variant == variants[-1]):
                raise
            job.fact(f"{variant.name} is left out: {error.what}")
    return folders


class _Judged(NamedTuple):
    """How far each variant is from the trained model, and what the race is run on."""

    aparts: dict[Variant, Apart]
    load: Load
    threads: int


def _judge(job: Job, folders: Folders) -> _Judged:
    """Compare every variant with the trained model, on the same positions."""
    trained, voice = Trained(job.inputs["train"]), Voice(job.inputs["train"])
    aparts: dict[Variant, Apart] = {}
    for number, (variant, folder) in enumerate(folders.items()):

        def say(seen: int, number: int = number, name: str = variant.name) -> None:
            done = (number + seen / POSITIONS) / len(folders)
            job.progress(40 + 40 * done, 100, f"{name}: compared {seen:,} of {POSITIONS:,} positions")

        examples = held_out(job.inputs["data"], voice, trained.context)
        aparts[variant] = compare(trained, Compressed(folder), examples, say)
    load = load_of(held_out(job.inputs["data"], voice, trained.context), trained.context)
    return _Judged(aparts, load, threads_for(weights(job.inputs["train"]) // FLOAT))


def _measured(job: Job, folders: Folders, judged: _Judged) -> list[Candidate]:
    """All figures of every variant."""

    def say(done: int) -> None:
        job.progress(80 + 20 * done / ROUNDS, 100, f"speed: round {done} of {ROUNDS}")

    speeds = race(list(folders.values()), judged.load, judged.threads, say)
    return [
        Candidate(
            variant, judged.aparts[variant], speed, weights(folder), packed(folder) if job.params["prune"] else None
        )
        for (variant, folder), speed in zip(folders.items(), speeds, strict=True)
    ]


def _choice(job: Job, candidates: list[Candidate], limits: Limits) -> Choice:
    """What ``auto`` takes; or what was asked for, which the gate judges."""
    if job.params["precision"] == "auto":
        return choose(candidates, limits)
    dense, chosen = candidates
    return Choice(chosen, chosen, gain(chosen.speed.each, dense.speed.each))


def _leave(job: Job, candidates: list[Candidate], choice: Choice) -> None:
    """The figures of the chosen one as evidence about ``out``; those of all about the model that they came from."""
    leave_distance(job, choice.chosen.apart)
    exact = most_exact(candidates)
    for one in candidates:
        for figure in (*distance_figures(one), *cost_figures(one, exact)):
            _measure(job, figure, f"candidate_{figure.metric}", about="train", slice=one.variant.name)
    for figure in cost_figures(choice.chosen, exact):
        _measure(job, figure, figure.metric, about="out", source="train")
    job.fact(said(choice))


def _measure(job: Job, figure: Figure, metric: str, *, about: str, slice: str = "", source: str | None = None) -> None:
    value, around = figure.value, figure.interval
    job.measure(metric, value, figure.unit, about=about, n=figure.n, interval=around, slice=slice, source=source)
