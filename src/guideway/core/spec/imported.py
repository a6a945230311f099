"""The keys of ``train.imported``: what recipe import must know of a model that was trained elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta

from guideway.core.spec.part import Part, Positive

if TYPE_CHECKING:
    from guideway.core.spec.model import Spec

Count = Annotated[int, Meta(ge=0)]
SHA256 = Annotated[str, Meta(pattern=r"^sha256:[0-9a-f]{64}$")]
Fault = tuple[tuple[str, ...], str, str]
"""Keys, what is wrong with them, and what to do."""


class Octets(Part, frozen=True):
    """How the bytes of a file become the fixed input of a classifier: ``begin`` numbers, then ``end`` numbers.

    The first are taken from the first ``block`` bytes and filled up behind with ``padding``; the last from the last
    ``block`` bytes, filled up in front. ``strip`` drops white space outside first. A file with fewer than ``least``
    bytes then is not judged.
    """

    begin: Count = 0
    end: Count = 0
    padding: Count = 256
    block: Positive = 4096
    strip: bool = True
    least: Count = 1

    @property
    def size(self) -> int:
        """How many numbers there are."""
        return self.begin + self.end


class Imported(Part, frozen=True):
    """Where the weights come from, the digest that the file must have, and what a graph does not say of itself.

    ``labels`` are the classes in the order of the outputs; ``labels_from`` names a JSON file, and behind ``#`` the key
    of the list in it.
    """

    origin: str = ""
    digest: SHA256 | None = None
    labels: tuple[str, ...] = ()
    labels_from: str = ""
    octets: Octets | None = None


def is_import(spec: Spec) -> bool:
    """Was the model of *spec* trained elsewhere?"""
    return spec.train.recipe == "import"


def is_graph(spec: Spec) -> bool:
    """Is the model of *spec* a graph that ships as it came?"""
    return is_import(spec) and spec.task == "classify"


def import_faults(spec: Spec) -> Iterator[Fault]:
    """What a spec asks for that an imported model cannot have, or that only one can."""
    train = spec.train
    if not is_import(spec):
        if train.imported is not None:
            yield (
                ("train", "imported"),
                f"recipe '{train.recipe}' imports nothing",
                "remove it, or write recipe: import",
            )
        return
    if spec.tune is not None:
        yield ("tune",), "where nothing is trained, nothing can be searched", "remove it"
    if spec.compress.prune is not None:
        advice = "remove it; recipe: full trains an imported release further, and may prune it"
        yield ("compress", "prune"), "pruning reads rows that training learned from, and there are none", advice
    if spec.evaluate.folds:
        yield ("evaluate", "folds"), "folds train anew, and an imported model is not trained", "remove it"
    if is_graph(spec):
        yield from _graph_faults(spec)
    elif train.imported and (train.imported.octets or train.imported.labels or train.imported.labels_from):
        yield ("train", "imported"), "labels and octets are for a classifier", "remove them, or write task: classify"


def _graph_faults(spec: Spec) -> Iterator[Fault]:
    said = spec.train.imported or Imported()
    if spec.compress.precision != "fp32":
        yield ("compress", "precision"), "a graph ships as it came", "precision: fp32"
    if spec.explain is not None:
        yield ("explain",), "a classifier of bytes has no words to explain", "remove it"
    if bool(said.labels) == bool(said.labels_from):
        advice = "labels: [...], or labels_from: FILE.json#KEY"
        yield ("train", "imported"), "a graph does not say what its classes are called", advice
    if said.octets is None or not said.octets.size:
        advice = "octets: {begin: N, end: M}"
        yield ("train", "imported"), "a graph does not say how bytes become its input", advice
