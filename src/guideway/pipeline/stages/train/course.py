"""What a model is taught, in which order, and by which descent: plainly, or with differential privacy."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import msgspec

from guideway.core.errors import GuidewayError
from guideway.core.protocols import Job
from guideway.core.spec import Train
from guideway.pipeline.stages.examples import Example, Voice
from guideway.pipeline.stages.train.batches import packed
from guideway.pipeline.stages.train.budget import DELTA, EPSILON, digest_of_rows, refuse_overspending, spent
from guideway.pipeline.stages.train.descent import Descent
from guideway.pipeline.stages.train.loop import Learned
from guideway.pipeline.stages.train.mixture import Mixture, Part
from guideway.pipeline.stages.train.recipes import Recipe
from guideway.pipeline.stages.train.rows import Rows

Examples = dict[int, list[Example]]
"""By the number of their source."""
Encode = Callable[[Job, Voice, Iterable[dict[str, Any]], int], Examples]


class Course(NamedTuple):
    """All that the loop needs, and what is left to say when it has ended."""

    descent: Descent
    supply: Callable[[], Iterator[Any]]
    train: Train
    """As the loop sees it."""
    close: Callable[[Learned], None]


def examples_of(job: Job, voice: Voice, rows: Iterable[dict[str, Any]], context: int) -> Examples:
    """What is learned: every answer that fits, and blocks of text.

    Raises:
        GuidewayError: no row fits.
    """
    answers: Examples = defaultdict(list)
    texts: Examples = defaultdict(list)
    long = 0
    for row in rows:
        if "text" in row:
            texts[row["source"]].append(voice.example(row))
            continue
        _need_template(voice)
        for example in voice.every_answer(row):
            fits = len(example.ids) <= context
            long += not fits
            answers[row["source"]] += [example] if fits else []
    examples = {source: answers[source] + packed(texts[source], context) for source in {**answers, **texts}}
    if not any(examples.values()):
        raise GuidewayError(
            f"no row fits into {context} tokens", where="train.architecture.context", try_this="a larger context"
        )
    if long:
        job.fact(f"{long:,} answers longer than {context} tokens left out")
    return examples


def course(
    job: Job,
    recipe: Recipe,
    voice: Voice,
    rows: Rows,
    train: Train,
    *,
    context: int,
    encode: Encode = examples_of,
) -> Course:
    """The course that the spec asks for, over *rows*, in sequences of at most *context* tokens.

    *encode* makes the examples of rows, or knows them already.

    Raises:
        GuidewayError: no row fits.
        Refused: the rows have no privacy left to spend.
    """
    if train.privacy:
        return _private(job, recipe, voice, rows, train, context=context)
    parts = [Part(*one) for one in job.params.get("mixture", ())]
    mixture = Mixture(parts, encode(job, voice, rows.learned(), context))
    return Course(
        Descent(recipe.model, recipe.loss, train),
        lambda: mixture.batches(train.batch, train.seed),
        train,
        lambda learned: mixture.report(job, learned.step * train.accumulate),
    )


def _private(job: Job, recipe: Recipe, voice: Voice, rows: Rows, train: Train, *, context: int) -> Course:
    """One example for each row, so that a row is what is protected; the gradients of each, clipped and noised."""
    from guideway.pipeline.stages.train.private import PrivateDescent

    assert train.privacy
    digest = digest_of_rows(rows.everything())
    refuse_overspending(train.privacy, job.recalled, digest)
    learning = list(rows.learned())
    if any("messages" in row for row in learning):
        _need_template(voice)
    descent = PrivateDescent(recipe.model, [voice.example(row).clipped(context) for row in learning], train)

    def close(learned: Learned) -> None:
        descent.close()
        _report(job, train, digest, descent.spent(learned.step), len(descent.examples))

    return Course(descent, descent.supply, msgspec.structs.replace(train, accumulate=1), close)


def _report(job: Job, train: Train, digest: str, epsilon: float, rows: int) -> None:
    """Leave what was spent as evidence: later trainings on these rows add it up."""
    assert train.privacy
    before = spent(job.recalled, digest, EPSILON)
    total, delta = sum(before) + epsilon, train.privacy.delta
    job.measure(EPSILON, epsilon, "epsilon", about="out", n=rows, slice=digest)
    job.measure(DELTA, delta, "probability", about="out", n=rows, slice=digest)
    job.measure("epsilon_total", total, "epsilon", about="out", n=len(before) + 1, slice=digest)
    job.measure(
        "delta_total", sum(spent(job.recalled, digest, DELTA)) + delta, "probability", about="out", slice=digest
    )
    job.fact(f"ε {epsilon:.3g} at δ {delta:g} for every row")
    if before:
        job.fact(f"ε {total:.3g} in all {len(before) + 1} trainings on these rows, by basic composition")


def _need_template(voice: Voice) -> None:
    if not voice.text.template:
        raise GuidewayError(
            "the base has no chat template",
            where="train.base",
            try_this="choose an instruct model, or task: completion",
        )
