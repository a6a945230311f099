"""Ways to find out what each token adds to a score, from scores of variants alone. Heavy libraries load when used."""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np

from guideway.pipeline.stages.explain.attribution import Floats, Masks, Value

PERMUTATIONS = 10
"""Random orders in which SHAP adds and takes away the tokens, each forwards and backwards."""
SAMPLES_PER_TOKEN = 16
LEAST_SAMPLES = 256
"""Variants that LIME draws: so many for each token, and at least so many in all."""
RIDGE = 1e-3
"""How much the linear model of LIME is held back: only so much that it has one solution."""
AT_ONCE = 256

Method = Callable[[Value, int, int], Floats]
"""Scores of variants, how many tokens, a seed: the weight of each token."""


def occlusion(value: Value, tokens: int, seed: int = 0) -> Floats:  # noqa: ARG001 - the shape of a method
    """How far the score falls when one token is left out (Li, Monroe & Jurafsky 2016). One variant per token."""
    masks = np.ones((tokens + 1, tokens), bool)
    np.fill_diagonal(masks[1:], False)
    scores = value(masks)
    return np.asarray(scores[0] - scores[1:])


def shapley(value: Value, tokens: int, seed: int = 0) -> Floats:
    """Shapley values by permutations, masking tokens (Lundberg & Lee 2017). They sum to score minus baseline."""
    if tokens == 0:
        return np.zeros(0)
    os.environ.setdefault("NUMBA_DISABLE_JIT", "1")  # compiling takes seconds, and what it speeds up milliseconds
    import shap

    def masked(mask: Masks, _row: Floats) -> tuple[Floats]:
        return (np.asarray(mask, float).reshape(1, -1),)

    explainer = shap.explainers.Permutation(lambda rows: value(np.asarray(rows) > 0.5), masked, seed=seed)
    most = evaluations("shap", tokens)
    found = explainer(np.ones((1, tokens)), max_evals=most, batch_size=AT_ONCE, silent=True)
    return np.asarray(found.values, dtype=float).reshape(tokens)


def lime(value: Value, tokens: int, seed: int = 0) -> Floats:
    """A linear model around the text, near variants weighing more (Ribeiro et al. 2016), by captum."""
    import torch
    from captum._utils.models.linear_model import SkLearnRidge
    from captum.attr import Lime

    if tokens == 0:
        return np.zeros(0)
    torch.manual_seed(seed)
    explainer = Lime(
        lambda rows: torch.from_numpy(np.asarray(value(rows.numpy() > 0.5), dtype=np.float64)),
        interpretable_model=SkLearnRidge(alpha=RIDGE),
    )
    found = explainer.attribute(
        torch.ones(1, tokens),
        baselines=torch.zeros(1, tokens),
        n_samples=evaluations("lime", tokens),
        perturbations_per_eval=AT_ONCE,
    )
    return np.asarray(found.detach().numpy(), dtype=float).reshape(tokens)


METHODS: dict[str, Method] = {"occlusion": occlusion, "shap": shapley, "lime": lime}
"""Methods that ask for scores only. ``gradients`` is apart: it looks into the model."""


def evaluations(method: str, tokens: int) -> int:
    """How many variants of a text of *tokens* a method asks for; none where it looks into the model."""
    asked = {
        "occlusion": tokens + 1,
        "shap": PERMUTATIONS * (2 * tokens + 1),
        "lime": max(LEAST_SAMPLES, SAMPLES_PER_TOKEN * tokens),
    }
    return asked.get(method, 0)
