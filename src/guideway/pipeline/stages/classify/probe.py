"""The head before training: a linear probe, so that fine-tuning starts from a head that fits and bends less.

After Kumar et al. 2022, "Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution".
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import torch

from guideway.pipeline.stages.classify.model import AT_ONCE, EncoderClassifier, tensors
from guideway.pipeline.stages.classify.rows import Case

MOST = 3000
"""Rows that the probe learns from at the most: one forward pass over each."""
STEPS = 60
DECAY = 1e-4


def fit_head(
    model: EncoderClassifier, cases: Sequence[Case], weights: torch.Tensor, seed: int, say: Callable[[float], None]
) -> None:
    """Fit the head of *model* on what its encoder says of a sample of *cases*; *weights* are those of the classes."""
    chosen = random.Random(seed).sample(list(cases), min(MOST, len(cases)))
    features, targets = _features(model, chosen, say)
    search = torch.optim.LBFGS(model.head.parameters(), max_iter=STEPS, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        search.zero_grad()
        found = torch.nn.functional.cross_entropy(model.head(features), targets, weights)
        found = found + DECAY * model.head.weight.square().sum()
        found.backward()  # type: ignore[no-untyped-call]
        return found

    search.step(loss)  # type: ignore[no-untyped-call]


@torch.no_grad()
def _features(
    model: EncoderClassifier, cases: Sequence[Case], say: Callable[[float], None]
) -> tuple[torch.Tensor, torch.Tensor]:
    model.eval()
    ordered = sorted(cases, key=lambda case: len(case.ids))
    parts = []
    for at in range(0, len(ordered), AT_ONCE):
        parts.append(model.features(*tensors(ordered[at : at + AT_ONCE])))
        say(at / len(ordered))
    return torch.cat(parts), torch.tensor([case.target for case in ordered])
