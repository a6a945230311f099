"""What ``task: classify`` asks of the rest of a spec, and what only a classifier may ask for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from guideway.core.errors import SpecError
from guideway.core.spec.guardrails import Guardrails
from guideway.core.spec.imported import is_import
from guideway.core.spec.marked import Marked
from guideway.core.spec.model import Spec


class _Fault(NamedTuple):
    keys: tuple[str, ...]
    what: str
    try_this: str


def check_classify(spec: Spec, marked: Marked) -> None:
    """Refuse a spec whose parts do not go with its task.

    Raises:
        SpecError: names the line.
    """
    faults = _of_a_classifier(spec) if spec.task == "classify" else _of_others(spec)
    for fault in faults:
        raise SpecError(fault.what, where=marked.where(fault.keys), try_this=fault.try_this)


def _of_a_classifier(spec: Spec) -> Iterator[_Fault]:
    data = spec.data
    if spec.train.recipe == "scratch":
        yield _Fault(("train",), "a classifier is trained from a base", "recipe: full, and base: FOLDER of an encoder")
    elif spec.train.recipe not in ("full", "import"):
        said = f"all weights of a classifier learn: recipe '{spec.train.recipe}' is for language models"
        yield _Fault(("train", "recipe"), said, "recipe: full")
    if spec.train.privacy is not None:
        yield _Fault(("train", "privacy"), "a classifier cannot learn with privacy", "remove it")
    if any(source.weight for source in data.sources):
        yield _Fault(("data", "sources"), "rows of a classifier have no weights by source", "train.class_weights: true")
    if spec.serve.engine != "onnx":
        yield _Fault(("serve", "engine"), "a classifier is served by the engine onnx only", "engine: onnx")
    if spec.compress.precision in ("auto", "int4"):
        said = f"a classifier has no precision {spec.compress.precision}"
        yield _Fault(("compress", "precision"), said, "int8 or fp32")
    if spec.compress.prune:
        yield _Fault(("compress", "prune"), "a classifier is not pruned by this version", "remove it")
    yield from _of_guardrails(spec)
    if data.learn_out_of_scope and not data.out_of_scope:
        yield _Fault(("data", "learn_out_of_scope"), "no label is out of scope", "name it: data.out_of_scope: LABEL")


def _of_guardrails(spec: Spec) -> Iterator[_Fault]:
    asked, at = spec.serve.guardrails, ("serve", "guardrails", "outlier")
    outlier = asked.outlier
    if asked != (Guardrails(outlier=outlier, refusal=asked.refusal) if outlier else Guardrails()):
        said = "guardrails are about chat, and a classifier has none but outliers by meaning"
        yield _Fault(("serve", "guardrails"), said, "remove the others")
    if outlier is None:
        return
    if outlier.by != "meaning":
        yield _Fault(at, "a classifier tells outliers by meaning, not by words", "by: meaning")
    if outlier.data:
        yield _Fault((*at, "data"), "what is ordinary is learnt from the training rows", "remove it")
    if is_import(spec):
        yield _Fault(at, "a model that was imported does not tell what is ordinary", "remove it")
    elif not spec.train.validation.split:
        advice = "name rows that are held out: train.validation.split"
        yield _Fault(at, "how far ordinary texts are is read off validation rows, and there are none", advice)


def _of_others(spec: Spec) -> Iterator[_Fault]:
    outlier = spec.serve.guardrails.outlier
    if outlier is not None and outlier.by != "words":
        yield _Fault(("serve", "guardrails", "outlier"), "outliers by meaning are for classifiers", "by: words")
    for keys, said in (
        (("data", "out_of_scope"), spec.data.out_of_scope),
        (("data", "learn_out_of_scope"), spec.data.learn_out_of_scope),
        (("evaluate", "folds"), spec.evaluate.folds),
        (("evaluate", "class_floor"), spec.evaluate.class_floor),
        (("train", "class_weights"), spec.train.class_weights),
    ):
        if said:
            yield _Fault(keys, f"'{'.'.join(keys)}' is for classifiers", "remove it, or write task: classify")
