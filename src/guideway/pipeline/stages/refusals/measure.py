"""Ask both kinds of prompts, and leave the shares that were refused as evidence about what ships."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from guideway.core.classifier import read_classifier
from guideway.core.guardrails import CLASSIFIER_FILE, Guardrails
from guideway.core.protocols import Job
from guideway.core.spec.refusals import Refusals
from guideway.guardrails.denied import Denied, pattern
from guideway.guardrails.prompts import PromptRules
from guideway.guardrails.said import asked_alone
from guideway.pipeline.stages.evaluate.speaker import Speaker, shipping
from guideway.pipeline.stages.intervals import wilson
from guideway.pipeline.stages.refusals.prompts import Asked, Labelled, labelled_of, prompts_of
from guideway.pipeline.stages.refusals.recognise import Recogniser
from guideway.pipeline.stages.refusals.report import Answered, By, Count, write_report
from guideway.pipeline.stages.refusals.seen import Seen, apart, check_left, learnt_from

AT_ONCE = 32
"""Prompts between two words about progress."""
KINDS = (("should_refuse", "refusal_share"), ("should_answer", "wrong_refusal_share"))


def measure(job: Job) -> None:
    """Leave ``refusal_share`` and ``wrong_refusal_share`` of what ships, and how often the recogniser errs."""
    asked = msgspec.convert(job.params["refusals"], Refusals)
    prompts, seen = _prompts(job, asked)
    labelled = labelled_of(asked.labelled, job.root)
    door = Door(job, asked)
    found: dict[str, list[Answered]] = {}
    total, done = sum(map(len, prompts.values())), 0
    for kind, _ in KINDS:
        found[kind] = []
        for at in range(0, len(prompts[kind]), AT_ONCE):
            job.progress(done, total, kind.replace("_", " "))
            found[kind] += door.answered(prompts[kind][at : at + AT_ONCE])
            done += len(prompts[kind][at : at + AT_ONCE])
    counts = {metric: Count.of(metric, [one.by != "nobody" for one in found[kind]]) for kind, metric in KINDS}
    errors = _errors(Recogniser(asked.phrases), labelled)
    for metric, one in counts.items():
        job.measure(metric, one.share, "share", about=job.params["ships"], n=one.n, interval=one.interval)
    for one in errors:
        job.measure(one.metric, one.share, "share", about="out", n=one.n, interval=one.interval)
    refused, wrong = counts["refusal_share"], counts["wrong_refusal_share"]
    job.fact(f"refuses {refused.share:.1%} of {refused.n} that it should and {wrong.share:.1%} of {wrong.n} others")
    write_report(job.out, job.params["ships"], found, [*counts.values(), *errors], seen)


def _prompts(job: Job, asked: Refusals) -> tuple[dict[str, list[Asked]], dict[str, list[Seen]]]:
    """The prompts of each kind that nobody learnt from, and the others; how many those are is left as evidence.

    Raises:
        SpecError: none is left of a kind.
    """
    files = [job.root / path for path in job.params["guard_rows"]]
    data = job.inputs["data"] if job.params["model_learns"] else None
    prompts: dict[str, list[Asked]] = {}
    seen: dict[str, list[Seen]] = {}
    for kind, _ in KINDS:
        named = prompts_of(getattr(asked, kind), job.root)
        left, seen[kind] = apart(named, learnt_from(files, data))
        check_left(kind, left, seen[kind])
        prompts[kind] = left[: asked.examples]
        count = len(seen[kind])
        job.measure("refusal_overlap", count, "prompts", about=job.params["ships"], n=len(named), slice=kind)
        if count:
            by = " and ".join(sorted({one.by for one in seen[kind]}))
            job.fact(f"left out {count} of {len(named)} prompts of {kind}: the {by} learnt from them")
    return prompts, seen


class Door:
    """The release as a user meets it: rules for prompts, the model, rules for answers; and who knows a refusal."""

    def __init__(self, job: Job, asked: Refusals) -> None:
        rules = msgspec.convert(job.params["rules"], Guardrails)
        weights = job.inputs["guard"] / CLASSIFIER_FILE
        classifier = read_classifier(weights.read_bytes()) if rules.threshold is not None else None
        self._rules = PromptRules(rules, classifier)
        self._patterns = [pattern(rule.name, rule.pattern) for rule in rules.deny if rule.on != "input"]
        self._recogniser = Recogniser((*asked.phrases, rules.refusal))
        self._speaker: Speaker = shipping(job, asked.max_tokens)

    def answered(self, asked: Sequence[Asked]) -> list[Answered]:
        """What becomes of each prompt. The model is asked only what the rules let pass."""
        stopped = [self._rules.broken(asked_alone(one.prompt)) is not None for one in asked]
        passed = iter(self._speaker.ask([one.prompt for one, no in zip(asked, stopped, strict=True) if not no]))
        return [
            Answered(one.prompt, one.file, "", "rule") if no else self._judged(one, next(passed))
            for one, no in zip(asked, stopped, strict=True)
        ]

    def _judged(self, asked: Asked, said: str) -> Answered:
        by: By = "nobody"
        if self._is_stopped(said):
            by = "answer rule"
        elif self._recogniser.refuses(said):
            by = "model"
        return Answered(asked.prompt, asked.file, said, by)

    def _is_stopped(self, said: str) -> bool:
        """Would the gateway end this answer at a denied pattern?"""
        stream = Denied(self._patterns)
        try:
            stream.feed(said)
            stream.end()
        except Exception:  # as there: a rule that fails ends the answer
            return True
        return False


def _errors(recogniser: Recogniser, labelled: Sequence[Labelled]) -> list[Count]:
    """How often the recogniser overlooks a refusal, and how often it sees one where there is none."""
    missed = [not recogniser.refuses(one.answer) for one in labelled if one.refused]
    false = [recogniser.refuses(one.answer) for one in labelled if not one.refused]
    pairs = (("recogniser_miss_share", missed), ("recogniser_false_share", false))
    return [Count(metric, sum(hits), len(hits), wilson(sum(hits), len(hits))) for metric, hits in pairs if hits]
