"""The trained classifier in torch: where it sees texts, and integrated gradients of the probability of a class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from guideway.pipeline.stages.classify.model import AT_ONCE, load_classifier, tensors
from guideway.pipeline.stages.classify.rows import Case
from guideway.pipeline.stages.explain.attribution import Floats, Token
from guideway.pipeline.stages.explain.gradients import OUTSIDE, Span, integrated_gradients, pooled


class Differentiable:
    """The classifier that stage train left in *folder*."""

    def __init__(self, folder: Path) -> None:
        self._model = load_classifier(folder)
        self._model.requires_grad_(False)

    @torch.inference_mode()
    def features(self, cases: Sequence[Case]) -> Floats:
        """The mean hidden state of each case: [cases, hidden]."""
        batches = [cases[at : at + AT_ONCE] for at in range(0, len(cases), AT_ONCE)]
        return np.concatenate([self._model.features(*tensors(batch)).numpy() for batch in batches])

    def weights(self, case: Case, spans: Sequence[Span], tokens: Sequence[Token], column: int) -> Floats:
        """The weight of each token of *case*, whose ids stand at *spans* of its text, for the class in *column*."""
        encoder = self._model.encoder

        def score(embedded: torch.Tensor) -> torch.Tensor:
            mean = encoder(inputs_embeds=embedded).last_hidden_state.mean(dim=1)
            found: torch.Tensor = self._model.head(mean).softmax(dim=-1)[:, column]
            return found

        embedded = encoder.get_input_embeddings()(torch.tensor(case.ids))
        inside = [span != OUTSIDE for span in spans]
        return pooled(integrated_gradients(score, embedded, inside), spans, tokens)
