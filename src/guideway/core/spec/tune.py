"""The key ``tune``: which keys of ``train`` are searched, where, and how long."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from guideway.core.errors import SpecError, did_you_mean
from guideway.core.spec.marked import Marked
from guideway.core.spec.part import Part, Positive
from guideway.core.spec.train import Train

Value = str | int | float | bool
Sampler = Literal["tpe", "random", "grid", "gp"]
Backend = Literal["optuna", "hyperopt"]

FIXED: Mapping[str, str] = {
    "base": "it says what is trained, not how",
    "teacher": "it says what is trained, not how",
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
MOST_VALUES = 10_000
"""Values of a stepped range, and points of a grid, at the most."""


class Dimension(Part, frozen=True):
    """Where one key is searched: from ``low`` to ``high``, both included, or among ``choices``.

    ``log`` draws evenly over orders of magnitude; ``step`` takes only low, low + step, and so on.
    """

    low: float | None = None
    high: float | None = None
    log: bool = False
    step: Annotated[float, Meta(gt=0.0)] | None = None
    choices: tuple[Value, ...] = ()


class Tune(Part, frozen=True):
    """A search over keys of ``train``. It ends after ``trials`` or ``minutes``, whichever comes first.

    ``steps`` of training in a trial (null: as many as ``train`` asks); ``parallel`` trials at once, each a process.
    ``validation`` is the share of the training rows that judges trials, and as many again the gain; with ``folds``
    a trial is the mean over so many folds. ``repeats`` is how often defaults and best are trained anew.
    """

    search: Annotated[dict[str, Dimension], Meta(min_length=1)]
    sampler: Sampler = "tpe"
    backend: Backend = "optuna"
    trials: Positive = 20
    minutes: Annotated[float, Meta(gt=0.0)] | None = None
    steps: Positive | None = None
    parallel: Annotated[int, Meta(ge=1, le=64)] = 1
    prune: bool = True
    validation: Annotated[float, Meta(gt=0.0, le=0.4)] = 0.1
    repeats: Annotated[int, Meta(ge=3, le=20)] = 3
    seed: int = 7


def applied(train: Train, parameters: Mapping[str, Any]) -> Train:
    """*train* with the values of *parameters*, whose keys are dotted: ``architecture.layers``.

    Raises:
        msgspec.ValidationError: a value has the wrong type, or lies outside what its key allows.
        KeyError: a part of the key is not set in *train*.
    """
    plain = msgspec.to_builtins(train)
    for key, value in parameters.items():
        *above, last = key.split(".")
        inner = plain
        for name in above:
            inner = inner[name]
            if inner is None:
                raise KeyError(name)
        inner[last] = value
    return msgspec.convert(plain, Train)


def value_at(train: Train, key: str) -> Any:
    """The value of the dotted *key* in *train*; None where a part of it is not set."""
    found: Any = train
    for name in key.split("."):
        found = getattr(found, name, None)
    return found


def values_of(dimension: Dimension, *, whole: bool) -> tuple[Value, ...]:
    """Every value of *dimension*, in order; empty where there is no step and so no end of them."""
    if dimension.choices:
        return dimension.choices
    if dimension.step is None or dimension.low is None or dimension.high is None:
        return ()
    count = min(math.floor((dimension.high - dimension.low) / dimension.step + 1e-9) + 1, MOST_VALUES + 1)
    values = [dimension.low + number * dimension.step for number in range(count)]
    return tuple(int(value) if whole else round(value, 12) for value in values)


def is_whole(key: str) -> bool:
    """Does the dotted *key* of ``train`` hold whole numbers?"""
    return isinstance(_type_at(key), msgspec.inspect.IntType)


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
    if tune.steps is not None and "steps" in tune.search:
        where = marked.where(("tune", "steps"))
        raise SpecError("tune.steps fixes what tune.search looks for", where=where, try_this="keep one of the two")
    if tune.backend == "hyperopt" and tune.sampler not in ("tpe", "random"):
        where = marked.where(("tune", "sampler"))
        advice = "tpe or random, or backend: optuna"
        raise SpecError(f"hyperopt has no sampler '{tune.sampler}'", where=where, try_this=advice)
    if tune.sampler == "grid" and math.prod(_sizes(tune)) > MOST_VALUES:
        where = marked.where(("tune", "search"))
        raise SpecError(f"the grid has more than {MOST_VALUES:,} points", where=where, try_this="larger steps, or tpe")


def grid(tune: Tune) -> list[dict[str, Value]]:
    """Every point of the grid that *tune* asks for, the last key changing fastest."""
    values = [values_of(one, whole=is_whole(key)) for key, one in tune.search.items()]
    return [dict(zip(tune.search, point, strict=True)) for point in itertools.product(*values)]


def _sizes(tune: Tune) -> list[int]:
    return [len(values_of(one, whole=is_whole(key))) for key, one in tune.search.items()]


Problem = tuple[str, str]
_NONE: Problem = ("", "")


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
        return f"'{key}' has either 'low' and 'high', or 'choices'", "keep one of the two"
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
    if not isinstance(_type_at(key), msgspec.inspect.IntType | msgspec.inspect.FloatType):
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
            said = str(error).partition(" - at ")[0].replace("`", "'")
            return f"train.{key} cannot be {value}: {said[0].lower()}{said[1:]}", "search among values that it can be"
        except KeyError as error:
            return f"train.{error.args[0]} is not set, so '{key}' cannot be searched", f"set train.{error.args[0]}"
    return _NONE


def _keys(kind: type[Part], above: str = "") -> Iterator[str]:
    """Every dotted key of *kind* that holds a plain value."""
    for field in msgspec.structs.fields(kind):
        inner = next((one for one in _members(msgspec.inspect.type_info(field.type)) if _is_part(one)), None)
        if inner is None:
            yield above + field.encode_name
        else:
            yield from _keys(inner.cls, f"{above}{field.encode_name}.")


def _type_at(key: str) -> Any:
    """The type of the value at the dotted *key*; that beside null where it may be null."""
    found: Any = msgspec.inspect.type_info(Train)
    for name in key.split("."):
        part = next(one for one in _members(found) if _is_part(one))
        found = next(field.type for field in part.fields if field.encode_name == name)
    members = [one for one in _members(found) if not isinstance(one, msgspec.inspect.NoneType)]
    return members[0] if len(members) == 1 else found


def _members(kind: Any) -> tuple[Any, ...]:
    if isinstance(kind, msgspec.inspect.Metadata):
        kind = kind.type
    return kind.types if isinstance(kind, msgspec.inspect.UnionType) else (kind,)


def _is_part(kind: Any) -> bool:
    return isinstance(kind, msgspec.inspect.StructType)
