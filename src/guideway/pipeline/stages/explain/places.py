"""Maps: where the model sees the texts, laid into the plane by scikit-learn."""

from __future__ import annotations

import numpy as np

from guideway.pipeline.stages.explain.attribution import Floats
from guideway.pipeline.stages.explain.record import Map

LEAST_FOR_TSNE = 30
"""Texts below which neighbourhoods say nothing."""
WIDTHS = 50
"""Dimensions that t-SNE starts from, by PCA."""


def maps(places: Floats, groups: list[str], seed: int) -> list[Map]:
    """A map by PCA, and one by t-SNE where there are enough texts. *places*: [texts, dimensions]."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    if len(places) < 3:
        return []
    centred = np.asarray(places, dtype=np.float64)
    across = PCA(n_components=min(WIDTHS, *centred.shape), svd_solver="full").fit(centred)
    turned = across.transform(centred)
    share = across.explained_variance_ratio_[:2].sum()
    found = [_map(f"PCA ({share:.0%})", np.pad(turned, ((0, 0), (0, max(0, 2 - turned.shape[1]))))[:, :2], groups)]
    if len(places) >= LEAST_FOR_TSNE:
        perplexity = min(30.0, (len(places) - 1) / 3)
        laid = TSNE(perplexity=perplexity, init="pca", random_state=seed, n_jobs=1).fit_transform(turned)
        found.append(_map("t-SNE", laid, groups))
    return found


def _map(name: str, points: Floats, groups: list[str]) -> Map:
    return Map(name, [(round(float(x), 4), round(float(y), 4)) for x, y in points], groups)
