"""What is explained: a row of data or a question, what the model said of it, and how to ask it about variants."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from guideway.core.errors import SpecError
from guideway.pipeline.stages.explain.attribution import (
    Attribution,
    Floats,
    Token,
    Value,
    attribute,
)
from guideway.pipeline.stages.explain.methods import METHODS


class Case(NamedTuple):
    """One text, what the model said (``target``: a class or an answer), and the scores of that under variants.

    ``value`` remembers what it was asked. ``wanted`` is the right answer and ``right`` whether it was given, where
    that is known. ``gradients`` weighs the tokens from within the model, where it can be differentiated.
    """

    text: str
    tokens: tuple[Token, ...]
    target: str
    value: Value
    gradients: Callable[[], Floats] | None = None
    id: str = ""
    wanted: str = ""
    right: bool | None = None


class Explained(Protocol):
    """A model of either kind, as the stage and the verb see it. ``auto`` is the method that suits it."""

    unit: str
    auto: str

    def cases(self, rows: Sequence[dict[str, object]]) -> list[Case]:
        """The cases of *rows*, as stage data wrote them: what the model says of each is the target."""

    def ask(self, text: str, target: str | None = None) -> Case:
        """The case of one text, and of *target* instead of what the model says of it.

        Raises:
            SpecError: the model cannot read the text, or cannot say the target.
        """

    def places(self, texts: Sequence[str]) -> Floats:
        """Where the model sees *texts*: [texts, dimensions]."""


def explain(case: Case, method: str, unit: str, seed: int) -> Attribution:
    """The weights of the tokens of *case* by one method.

    Raises:
        SpecError: the method is ``gradients``, and the weights of this model are not at hand.
    """
    if method == "gradients":
        if case.gradients is None:
            raise SpecError(
                "there are no weights that gradients could be taken of",
                try_this="method occlusion or shap, which need scores only",
            )
        weights = case.gradients()
    else:
        weights = METHODS[method](case.value, len(case.tokens), seed)
    return attribute(case.text, case.tokens, weights, case.value, target=case.target, method=method, unit=unit)
