"""The export of a sentence encoder to ONNX: token ids and mask in, embeddings of length 1 out."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import torch

from guideway.core.errors import GuidewayError
from guideway.pipeline.stages.classify.export import (
    copy_tokenizer,
    largest_difference,
    quantise,
    reason,
    trace,
    written_out,
)
from guideway.pipeline.stages.embed.model import SentenceEncoder, load_embedder
from guideway.replica.classifier import GRAPH
from guideway.replica.embedder import OUTPUT

TOLERANCE = 1e-4
"""The largest difference between two numbers of an embedding, in float32."""


def export(source: Path, out: Path, precision: str) -> None:
    """Export the sentence encoder in *source* to *out* for the processor, in fp32 or int8 (as a classifier is).

    Raises:
        GuidewayError: this encoder cannot be exported, or the export does not agree with it.
    """
    model = load_embedder(source, attention="eager")
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / GRAPH
        try:
            trace(_Graph(model), plain, OUTPUT)
        except Exception as error:
            raise _cannot(reason(error)) from error
        apart = largest_difference(model, plain, OUTPUT, model.encoder.config.vocab_size)
        if not apart <= TOLERANCE:
            raise _cannot(f"its export differs by {apart:.3g} in a number of an embedding")
        if precision == "fp32":
            shutil.copyfile(plain, out / GRAPH)
        else:
            quantise(plain, out / GRAPH)
    copy_tokenizer(source, out)


class _Graph(torch.nn.Module):
    """The encoder with its mask written out, so that nothing in the graph depends on the shape that was traced."""

    def __init__(self, model: SentenceEncoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.model(ids, mask, written_out(mask))
        return found


def _cannot(why: str) -> GuidewayError:
    return GuidewayError(
        f"the encoder cannot be exported: {why}", where="train.base", try_this="another encoder, such as BERT"
    )
