"""Have every pair judged in both orders, and leave the score as evidence about what ships."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec

from guideway.core.protocols import Job
from guideway.core.spec.judge import Judge
from guideway.pipeline.lent import SERVING
from guideway.pipeline.stages.judge.endpoint import Endpoint, Spent
from guideway.pipeline.stages.judge.pairs import pairs_of
from guideway.pipeline.stages.judge.report import told, write_report
from guideway.pipeline.stages.judge.verdicts import Judged, Pair, Verdict, figures, messages, verdict_of


def measure(job: Job) -> None:
    """Leave ``judge_score`` and what says how far it can be trusted; all of it marked as not repeatable."""
    asked = msgspec.convert(job.params["judge"], Judge)
    if asked.against == SERVING and not (job.inputs[SERVING] / "serve.json").is_file():
        job.fact("nothing serves, so there was nothing to compare with")
        write_report(job.out, asked, [], [], 0)
        return
    job.resume.mkdir(parents=True, exist_ok=True)
    endpoint = Endpoint(asked, job.resume / "replies.jsonl")
    pairs = pairs_of(job, asked)
    judged = _judged(job, asked, endpoint, pairs)
    found = figures(judged, job.params["seed"])
    for one in found:
        job.measure(
            one.metric,
            one.value,
            "share",
            about=job.params["ships"],
            n=one.n,
            interval=one.interval,
            slice=job.params["split"],
            repeatable=False,
        )
    job.fact(told(asked, judged, found))
    write_report(job.out, asked, judged, found, endpoint.made)


def _judged(job: Job, asked: Judge, endpoint: Endpoint, pairs: Sequence[Pair]) -> list[Judged]:
    """Every pair, in order; once no request is left the rest is left out, and no pair has half a verdict."""
    rubric = (job.root / asked.rubric).read_text(encoding="utf-8")

    def judge(pair: Pair) -> Judged:
        if pair.alike:
            return Judged(pair)
        try:
            first, second = (_verdict(endpoint, rubric, pair, swapped=swapped) for swapped in (False, True))
        except Spent:
            return Judged(pair)
        return Judged(pair, first, second)

    found = []
    with ThreadPoolExecutor(max_workers=asked.parallel) as pool:
        try:
            for one in pool.map(judge, pairs):
                found.append(one)
                job.progress(len(found), len(pairs), "pairs")
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return found


def _verdict(endpoint: Endpoint, rubric: str, pair: Pair, *, swapped: bool) -> Verdict:
    return verdict_of(endpoint.reply(messages(rubric, pair, swapped=swapped)))
