"""How much memory, disk and time a plan needs: a model of the work, from the spec and the shape of the model. Pure.

Weights, gradients and the two moments of AdamW are counted exactly; activations by what a decoder keeps for its
backward pass. Source for the two floating-point operations per weight and token, forwards, and twice as many
backwards: Kaplan et al. 2020, https://arxiv.org/abs/2001.08361, section 2.1.
"""

from __future__ import annotations

from typing import NamedTuple

from guideway.core.spec import Architecture, Spec, Train, Tune, is_import

FLOAT = 4
"""Bytes of a weight while it is trained."""
FOUR_BITS = 0.516
"""Bytes of a weight that is held in four bits: a scale of a byte for 64 of them, and one of a float for 256 scales."""
PROCESS = 600_000_000
"""Bytes that a process with torch and transformers holds before it does anything."""
SHIPPED = {"fp32": 4.0, "bf16": 2.0, "int8": 1.15, "w8a8": 1.15, "fp8": 1.15, "int4": 0.65, "w4a16": 0.65}
"""Bytes per weight of what ships; embeddings stay wider than the matrices."""
EXPORTING = 10.0
"""Bytes per weight while a model is exported: the source, the graph, and what is written."""
EFFICIENCY = 0.35
"""The share of the machine's matrix speed that training reaches."""
ADAPTERS = 0.03
ON_A_BASE = ("lora", "qlora")
"""Recipes that train adapters alone."""
SERVER = 150_000_000
"""Bytes that a replica holds beside the weights."""


class Shape(NamedTuple):
    """The shape of a decoder. ``context`` is in tokens; ``weights`` counts each shared tensor once."""

    layers: int
    hidden: int
    heads: int
    feed_forward: int
    vocabulary: int
    context: int
    weights: int
    matrices: int = 0
    """Weights in matrices between the first and the last layer, which may be held in four bits; 0: unknown."""


class Need(NamedTuple):
    """What one stage needs at its peak: bytes of memory and of disk, floating-point operations; and why."""

    stage: str
    memory: float
    disk: float
    operations: float
    why: str
    processes: int = 1
    """Processes among which the memory is divided: each has a GPU of its own, where there are any."""


def shape_of(asked: Architecture) -> Shape:
    """The shape of the model that ``scratch`` makes."""
    size = asked.hidden // asked.heads
    attention = 2 * asked.hidden * asked.hidden + 2 * asked.hidden * size * asked.kv_heads
    matrices = asked.layers * (attention + 3 * asked.hidden * asked.feed_forward)
    weights = matrices + asked.layers * 2 * asked.hidden + asked.vocabulary * asked.hidden + asked.hidden
    sizes = (asked.layers, asked.hidden, asked.heads, asked.feed_forward, asked.vocabulary, asked.context)
    return Shape(*sizes, weights, matrices)


def needs(spec: Spec, shape: Shape, tokens: float) -> list[Need]:
    """What each heavy stage of *spec* needs for a model of *shape*, with rows of so many *tokens* in the mean."""
    found = [_training(spec, shape, tokens), _exporting(spec, shape), _serving(spec, shape)]
    if is_import(spec):
        return found[1:]
    return found + ([_searching(spec, spec.tune, shape, found[0].operations)] if spec.tune else [])


def training_memory(shape: Shape, batch: int, trained_share: float = 1.0, in_four_bits: int = 0) -> float:
    """Bytes at the peak of a step: weights, what is learned about them, and what the backward pass needs.

    *trained_share*: the share of the weights that are trained; the others have no gradients and no moments.
    *in_four_bits*: how many of the weights are held so; a matrix is whole only while it is multiplied.
    """
    held = (shape.weights - in_four_bits) * FLOAT + in_four_bits * FOUR_BITS
    held += shape.hidden * shape.feed_forward * FLOAT if in_four_bits else 0.0
    learning = held + shape.weights * FLOAT * 3 * trained_share
    scores = 2 * shape.heads * shape.context
    kept = shape.layers * (9 * shape.hidden + 5 * shape.feed_forward + scores) + 5 * shape.vocabulary
    return PROCESS + learning + batch * shape.context * kept * FLOAT


def whole_memory(train: Train, shape: Shape) -> float:
    """Bytes at the peak of a training, over all its processes: each has all weights, and its share of the rows."""
    rows = -(-train.batch // train.processes)
    return train.processes * training_memory(shape, rows, trained_share(train), in_four_bits(train, shape))


def trained_share(train: Train) -> float:
    """The share of the weights that a recipe trains: adapters are a few in a hundred at the most."""
    return ADAPTERS if train.recipe in ON_A_BASE else 1.0


def in_four_bits(train: Train, shape: Shape) -> int:
    """How many weights a recipe holds in four bits while it trains."""
    return shape.matrices if train.recipe == "qlora" else 0


def merging_memory(train: Train, shape: Shape) -> float:
    """Bytes of this machine at the end of a training, where the whole base is read to merge adapters into it."""
    return PROCESS + shape.weights * FLOAT if train.recipe == "qlora" else 0.0


def fitting_batch(shape: Shape, batch: int, memory: float, trained_share: float = 1.0, in_four_bits: int = 0) -> int:
    """The largest batch not above *batch*, by halving, whose training fits into *memory* bytes; 0: none does."""
    while batch and training_memory(shape, batch, trained_share, in_four_bits) > memory:
        batch //= 2
    return batch


def _training(spec: Spec, shape: Shape, each: float) -> Need:
    tokens = spec.train.steps * spec.train.accumulate * spec.train.batch * min(each, shape.context)
    why = f"{shape.weights / 1e6:.1f}M weights, batches of {spec.train.batch} x {shape.context} tokens"
    memory = PROCESS if _elsewhere(spec) else whole_memory(spec.train, shape)
    operations = 6.0 * shape.weights * tokens
    return Need("train", memory, shape.weights * FLOAT * 2, operations, why, spec.train.processes)


def _elsewhere(spec: Spec) -> bool:
    """Is it a cluster that trains? Then this machine only sends and fetches."""
    return spec.runner.kind == "ray"


def _searching(spec: Spec, tune: Tune, shape: Shape, operations: float) -> Need:
    """A search of models as large as the spec's own; trials that are ended early only make it shorter.

    A trial has one process; *operations* are those of one training.
    """
    train = spec.train
    whole = tune.trials * max(1, tune.folds) * (tune.steps or train.steps) / train.steps + 2 * tune.repeats
    folds = f" of {tune.folds} folds" if tune.folds else ""
    why = (
        f"{tune.trials} trials{folds}, {tune.parallel} at once, then {2 * tune.repeats} trainings of defaults and best"
    )
    each = training_memory(shape, train.batch, trained_share(train), in_four_bits(train, shape))
    memory = PROCESS if _elsewhere(spec) else each * tune.parallel
    return Need("tune", memory, 0.0, operations * whole, why)


def _exporting(spec: Spec, shape: Shape) -> Need:
    each = [shape.weights * SHIPPED[one] for one in _precisions(spec)]
    ships = max(each)
    memory = PROCESS + shape.weights * EXPORTING
    disk = sum(each) * (2 if spec.compress.prune else 1)
    return Need("compress", memory, disk, 0.0, f"from {shape.weights * FLOAT / 1e6:.0f} to {ships / 1e6:.0f} MB")


def _serving(spec: Spec, shape: Shape) -> Need:
    each = SERVER + 1.2 * shape.weights * max(SHIPPED[one] for one in _precisions(spec))
    count = spec.scale.max if spec.scale else spec.replicas
    return Need("serve", each * count, 0.0, 0.0, f"{count} replicas of {each / 1e6:.0f} MB")


def _precisions(spec: Spec) -> tuple[str, ...]:
    """What may ship: nobody knows before it is measured which candidate does."""
    asked = spec.compress
    return asked.candidates if asked.precision == "auto" else (asked.precision,)
