"""Explain a sample of held-out rows, put the explanations to the test, and write what was found."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from guideway.core.protocols import Job
from guideway.pipeline.stages.examples import rows_of
from guideway.pipeline.stages.explain.answers import Answers, Settings
from guideway.pipeline.stages.explain.classes import Classes
from guideway.pipeline.stages.explain.classifier import ShippedClassifier
from guideway.pipeline.stages.explain.deletion import deletion, faithfulness
from guideway.pipeline.stages.explain.page import to_html
from guideway.pipeline.stages.explain.places import maps
from guideway.pipeline.stages.explain.record import RIGHT, WRONG, Findings, Line
from guideway.pipeline.stages.explain.subject import Case, Explained, explain

ON_THE_MAP = 200
"""Texts on the map at the most; those that are explained are among them."""
LEAST_TOKENS = 2
"""In a text of one token there is nothing to weigh against it."""

_MARKS = {True: RIGHT, False: WRONG, None: ""}


def measure(job: Job) -> None:
    """Leave the deletion test as evidence about the model that ships, and write the lines and the report."""
    if not job.params["split"]:
        (job.out / "attributions.jsonl").write_bytes(b"")
        job.fact("no split is held out, so nothing was explained")
        return
    findings = found_of(job, opened(job))
    text = "".join(json.dumps(one.plain(), ensure_ascii=False) + "\n" for one in findings.lines)
    (job.out / "attributions.jsonl").write_text(text, encoding="utf-8")
    (job.out / "report.html").write_text(to_html(findings), encoding="utf-8")
    leave(job, findings)


def opened(job: Job) -> Explained:
    """The model that ships."""
    params, template = job.params, job.params["template"]
    if params["task"] == "classify":
        return Classes(ShippedClassifier(job.inputs[params["ships"]], trained=job.inputs["train"]))
    settings = Settings(
        task=params["task"],
        system=params["system"],
        template=(job.root / template).read_text(encoding="utf-8") if template else "",
        max_tokens=params["max_tokens"],
        stop=tuple(params["stop"]),
    )
    return Answers(job.inputs[params["ships"]], settings, trained=job.inputs["train"])


def found_of(job: Job, model: Explained) -> Findings:
    """Every figure about a sample of the rows of the split."""
    params = job.params
    job.progress(0, 1, "asking")
    cases = model.cases(_sample(job))
    method = model.auto if params["method"] == "auto" else params["method"]
    lines = _lines(job, model, cases, method)
    classes = params["task"] == "classify"
    groups = [case.target if classes else _MARKS[case.right] for case in cases]
    return Findings(
        split=params["split"],
        ships=params["ships"],
        method=method,
        unit=model.unit,
        classes=classes,
        lines=lines,
        faithfulness=faithfulness([one.deletion for one in lines if one.deletion], params["seed"]),
        maps=maps(model.places([case.text for case in cases]), groups, params["seed"]) if cases else [],
    )


def leave(job: Job, findings: Findings) -> None:
    """Leave the gain over chance as evidence, and say in words whether it is one."""
    said = findings.faithfulness
    if said is None:
        job.fact(f"{findings.split} has no text of {LEAST_TOKENS} tokens, so nothing was explained")
        return
    job.measure(
        "faithfulness_gain",
        said.gain,
        findings.unit,
        about=findings.ships,
        n=said.n,
        interval=said.interval,
        slice=findings.split,
    )
    gain = f"gain {said.gain:.3g} {findings.unit} [{said.interval.low:.3g}, {said.interval.high:.3g}]"
    verdict = "more faithful than chance" if said.above_chance else "NO BETTER THAN CHANCE, not to be relied on"
    job.fact(f"{findings.method} on {said.n} of {findings.split}: {verdict}, {gain}")


def _sample(job: Job) -> list[dict[str, Any]]:
    """Rows of the split for the map, and to explain: those with the smallest ids, which are digests."""
    path = job.inputs["data"] / f"{job.params['split']}.jsonl"
    return sorted(rows_of(path), key=lambda row: str(row["id"]))[: max(ON_THE_MAP, job.params["examples"])]


def _lines(job: Job, model: Explained, cases: Sequence[Case], method: str) -> list[Line]:
    """The first of *cases* that have something to weigh, explained and tested."""
    chosen = [case for case in cases if len(case.tokens) >= LEAST_TOKENS][: job.params["examples"]]
    lines = []
    for number, case in enumerate(chosen):
        job.progress(number, len(chosen) + 1, f"{method} {number + 1} of {len(chosen)}")
        seed = (job.params["seed"], number)
        found = explain(case, method, model.unit, seed[0])
        lines.append(Line(case.id, found, case.wanted, case.right, deletion(case.value, found.weights, seed)))
    job.progress(len(chosen), len(chosen) + 1, "drawing")
    return lines
