"""What a search may look for, and the one clear line when it may not."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import msgspec

from guideway.core.errors import SpecError, did_you_mean
from guideway.core.spec.explain import in_words
from guideway.core.spec.marked import Marked
from guideway.core.spec.part import Part
from guideway.core.spec.train import Train
from guideway.core.spec.tune import MOST_VALUES, Dimension, Tune, applied, is_whole, part_in, type_at, values_of

FIXED: Mapping[str, str] = {
    "base": "it says what is trained, not how",
    "teacher": "it says what is trained, not how",
    "imported": "it says where weights come from, not how they are learned",
    "privacy": "what may be told of a row is no parameter",
    "recipe": "it says what is trained, not how",
    "seed": "a seed that happens to be lucky is no parameter",
    "architecture.vocabulary": "losses per token of different tokenizers cannot be compared",
    "validation": "it says how training is watched, not how it learns",
    "validate_every": "it says how training is watched, not how it learns",
    "checkpoint_every": "it changes no weight",
}
"""Keys of ``train`` that are not searched, with all below them, and why."""
RECIPES: Mapping[str, tuple[str, ...]] = {
    "architecture": ("scratch", "distill"),
    "lora": ("lora", "qlora"),
    "distill": ("distill",),
}
"""The recipes that read the keys below these."""

Problem = tuple[str, str]
_NONE: Problem = ("", "")


def check_tune(tune: Tune | None, train: Train, marked: Marked) -> None:
    """Refuse a search that could not be run, when the spec is loaded.

    Raises:
        SpecError: an unknown key, an empty range, a sampler that does not fit; with its line.
    """
    if tune is None:
        return
    if train.privacy is not None:
        raise SpecError(
            "trials on private rows would spend privacy that no budget counts",
            where=marked.where(("tune",)),
            try_this="search on public rows, and write what it finds into train",
        )
    for key, dimension in tune.search.items():
        problem, advice = _problem(key, dimension, tune, train)
        if problem:
            raise SpecError(problem, where=marked.where(("tune", "search", key)), try_this=advice)
    key, problem, advice = _whole_problem(tune)
    if problem:
        raise SpecError(problem, where=marked.where(("tune", key)), try_this=advice)


def _whole_problem(tune: Tune) -> tuple[str, str, str]:
    """The key that is wrong, how, and what to do; three empty texts when the search as a whole is well."""
    if tune.folds == 1:
        return "folds", "one fold leaves nothing to train on", "5, or 0 for one held-out part"
    if tune.steps is not None and "steps" in tune.search:
        return "steps", "tune.steps fixes what tune.search looks for", "keep one of the two"
    if tune.backend == "hyperopt" and tune.sampler not in ("tpe", "random"):
        return "sampler", f"hyperopt has no sampler '{tune.sampler}'", "tpe or random, or backend: optuna"
    if tune.sampler == "grid" and math.prod(_sizes(tune)) > MOST_VALUES:
        return "search", f"the grid has more than {MOST_VALUES:,} points", "larger steps, or tpe"
    return "", "", ""


def _sizes(tune: Tune) -> list[int]:
    return [len(values_of(one, whole=is_whole(key))) for key, one in tune.search.items()]


def _problem(key: str, dimension: Dimension, tune: Tune, train: Train) -> Problem:
    """What is wrong with one dimension, and what to do; two empty texts when nothing is."""
    known = set(_keys(Train))
    if key not in known:
        return f"'{key}' is no key of train", did_you_mean(key, [one for one in known if not _fixed(one)])
    if why := _fixed(key):
        return f"'{key}' is not searched: {why}", "remove it"
    readers = RECIPES.get(key.partition(".")[0], ())
    if readers and train.recipe not in readers and key != "architecture.context":
        return f"recipe '{train.recipe}' does not read '{key}'", "remove it"
    if bool(dimension.choices) == (dimension.low is not None or dimension.high is not None):
        return f"'{key}' has either 'low' and 'high', or 'choices'", "give one of the two"
    shape = _choices_problem(key, dimension) if dimension.choices else _range_problem(key, dimension)
    if shape != _NONE:
        return shape
    if tune.sampler == "grid" and not (dimension.choices or dimension.step):
        return f"a grid needs choices or a step for '{key}'", "add step:, or choose sampler: tpe"
    return _value_problem(key, dimension, train)


def _fixed(key: str) -> str:
    """Why *key* is not searched; empty when it may be."""
    return next((why for fixed, why in FIXED.items() if key == fixed or key.startswith(f"{fixed}.")), "")


def _choices_problem(key: str, dimension: Dimension) -> Problem:
    if dimension.log or dimension.step is not None:
        return f"'{key}' has choices, so neither 'log' nor 'step'", "remove them"
    if len(set(map(repr, dimension.choices))) != len(dimension.choices):
        return f"a choice of '{key}' is there twice", "remove one"
    return _NONE


def _range_problem(key: str, dimension: Dimension) -> Problem:
    low, high, step = dimension.low, dimension.high, dimension.step
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return f"'{key}' needs both 'low' and 'high'", "give two numbers, or choices"
    if low >= high:
        return f"the range of '{key}' is empty: low {low:g} is not below high {high:g}", "swap or widen them"
    if dimension.log and low <= 0:
        return f"'{key}' is searched by orders of magnitude, so 'low' must be above 0", "raise low, or remove log"
    if dimension.log and step is not None:
        return f"'{key}' has 'log' and 'step'", "keep one of the two, or list choices"
    if step is not None and step > high - low:
        return f"the step of '{key}' is larger than its range", "a smaller step"
    if not isinstance(type_at(key), msgspec.inspect.IntType | msgspec.inspect.FloatType):
        return f"'{key}' is no number, so it has no range", "list choices"
    if is_whole(key) and any(value != int(value) for value in (low, high, step or 1)):
        return f"'{key}' takes whole numbers only", "whole low, high and step"
    return _NONE


def _value_problem(key: str, dimension: Dimension, train: Train) -> Problem:
    """Would ``train`` take every value? The ends of a range stand for what lies between them."""
    whole = is_whole(key)
    ends = dimension.choices or tuple(int(end) if whole else end for end in (dimension.low or 0, dimension.high or 0))
    for value in ends:
        try:
            applied(train, {key: value})
        except msgspec.ValidationError as error:
            said, _ = in_words(str(error).partition(" - at ")[0])
            return f"train.{key} cannot be {value}: it {said}", "search among values that it can be"
        except KeyError as error:
            return f"train.{error.args[0]} is not set, so '{key}' cannot be searched", f"set train.{error.args[0]}"
    return _NONE


def _keys(kind: type[Part], above: str = "") -> Iterator[str]:
    """Every dotted key of *kind* that holds a plain value."""
    for field in msgspec.structs.fields(kind):
        inner = part_in(msgspec.inspect.type_info(field.type))
        if inner is None:
            yield above + field.encode_name
        else:
            yield from _keys(inner.cls, f"{above}{field.encode_name}.")
