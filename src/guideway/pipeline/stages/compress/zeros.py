"""Magnitude pruning: the smallest weights of each matrix become zero. Shapes, and so the speed, stay as they are."""

from __future__ import annotations

from typing import Any

import torch

from guideway.pipeline.stages.compress.parts import layers_of, matrices


@torch.no_grad()
def set_zeros(model: Any, what: str, share: float) -> None:
    """Set *share* of the weights to zero in every matrix of *what*, those of the least magnitude.

    Raises:
        GuidewayError: this architecture cannot be pruned.
    """
    for layer in layers_of(model):
        for linear in matrices(layer, what):
            count = round(share * linear.weight.numel())
            if count:
                smallest = linear.weight.abs().flatten().kthvalue(count).values
                linear.weight[linear.weight.abs() <= smallest] = 0.0


class Zeros:
    """The zeros that the matrices of *what* have now, and shall keep."""

    def __init__(self, model: Any, what: str) -> None:
        linears = [linear for layer in layers_of(model) for linear in matrices(layer, what)]
        self._places = [(linear.weight, linear.weight == 0) for linear in linears]

    @torch.no_grad()
    def restore(self) -> None:
        """Make them zero again: a step has moved them."""
        for weight, zero in self._places:
            weight[zero] = 0.0
