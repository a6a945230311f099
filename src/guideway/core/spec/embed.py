"""What ``task: embed`` asks of the rest of a spec, and what only embeddings may ask for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from guideway.core.errors import SpecError
from guideway.core.spec.guardrails import Guardrails
from guideway.core.spec.marked import Marked
from guideway.core.spec.model import Spec
from guideway.core.spec.train import Contrast


class _Fault(NamedTuple):
    keys: tuple[str, ...]
    what: str
    try_this: str


def check_embed(spec: Spec, marked: Marked) -> None:
    """Refuse a spec whose parts do not go with embeddings.

    Raises:
        SpecError: names the line.
    """
    for fault in _of_embeddings(spec) if spec.task == "embed" else _of_others(spec):
        raise SpecError(fault.what, where=marked.where(fault.keys), try_this=fault.try_this)


def _of_embeddings(spec: Spec) -> Iterator[_Fault]:
    train, compress = spec.train, spec.compress
    if train.recipe != "full":
        yield _Fault(("train",), "embeddings are learnt from a base", "recipe: full, and base: FOLDER of an encoder")
    if train.batch < 2 and train.steps:
        yield _Fault(("train", "batch"), "a batch of one has nothing to be told from", "batch: 32")
    if spec.serve.engine != "onnx":
        yield _Fault(("serve", "engine"), "embeddings are served by the engine onnx only", "engine: onnx")
    if compress.precision in ("auto", "int4"):
        said = f"embeddings have no precision {compress.precision}"
        yield _Fault(("compress", "precision"), said, "int8 or fp32")
    if spec.serve.guardrails != Guardrails():
        yield _Fault(("serve", "guardrails"), "guardrails are about chat, and embeddings have none", "remove them")
    if spec.rollout.golden:
        advice = "evaluate.require says what a release must find"
        yield _Fault(("rollout", "golden"), "golden prompts have answers, and embeddings have none", advice)
    for keys, there, said in (
        (("train", "privacy"), train.privacy, "embeddings cannot learn with privacy"),
        (("data", "sources"), any(one.weight for one in spec.data.sources), "pairs have no weights by source"),
        (("compress", "prune"), compress.prune, "embeddings are not pruned by this version"),
        (("tune",), spec.tune, "embeddings are not searched by this version"),
        (("explain",), spec.explain, "embeddings are explained by the map in the evaluation report alone"),
        (("evaluate", "slices"), spec.evaluate.slices, "embeddings have no slices in this version"),
        (("evaluate", "against"), spec.evaluate.against, "embeddings are compared with their base alone"),
        (("evaluate", "judge"), spec.evaluate.judge, "embeddings have no answers for a judge"),
        (("evaluate", "refusals"), spec.evaluate.refusals, "embeddings refuse nothing"),
        (
            ("train", "processes"),
            train.processes > 1,
            "embeddings are learnt by one process: it sees the whole batch",
        ),
        (("runner",), spec.runner.kind != "local", "embeddings are learnt on this machine"),
    ):
        if there:
            yield _Fault(keys, said, "remove it")


def _of_others(spec: Spec) -> Iterator[_Fault]:
    if spec.train.contrast != Contrast():
        yield _Fault(("train", "contrast"), "'train.contrast' is for embeddings", "remove it, or write task: embed")
    if not spec.train.steps:
        yield _Fault(
            ("train", "steps"),
            "train.steps: must be at least 1",
            "0 is for task: embed, which may ship a base as it is",
        )
