"""The key ``tune``: which keys of ``train`` are searched, where, and how long."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from guideway.core.spec.part import Part, Positive
from guideway.core.spec.train import Train

Value = str | int | float | bool
Sampler = Literal["tpe", "random", "grid", "gp"]
Backend = Literal["optuna", "hyperopt"]

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
    ``validation`` is the share of the training rows that judges trials, and as many again the gain. With ``folds``
    (two or more) trials are cross-validated on all rows that do not judge the gain. ``repeats`` is how often defaults
    and best are trained anew.
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
    folds: Annotated[int, Meta(ge=0, le=20)] = 0
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
    return isinstance(type_at(key), msgspec.inspect.IntType)


def grid(tune: Tune) -> list[dict[str, Value]]:
    """Every point of the grid that *tune* asks for, the last key changing fastest."""
    values = [values_of(one, whole=is_whole(key)) for key, one in tune.search.items()]
    return [dict(zip(tune.search, point, strict=True)) for point in itertools.product(*values)]


def type_at(key: str) -> Any:
    """The type of the value at the dotted *key* of ``train``; that beside null where it may be null."""
    found: Any = msgspec.inspect.type_info(Train)
    for name in key.split("."):
        found = next(field.type for field in part_in(found).fields if field.encode_name == name)
    kinds = [one for one in _members(found) if not isinstance(one, msgspec.inspect.NoneType)]
    return kinds[0] if len(kinds) == 1 else found


def part_in(kind: Any) -> Any:
    """The part of the spec that *kind* is or may be; None for a plain value."""
    return next((one for one in _members(kind) if isinstance(one, msgspec.inspect.StructType)), None)


def _members(kind: Any) -> tuple[Any, ...]:
    if isinstance(kind, msgspec.inspect.Metadata):
        kind = kind.type
    return kind.types if isinstance(kind, msgspec.inspect.UnionType) else (kind,)
