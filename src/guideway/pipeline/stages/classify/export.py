"""The export of a classifier to ONNX: token ids and mask in, logits out, any number of rows and tokens."""

from __future__ import annotations

import logging
import shutil
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

from guideway.core.errors import GuidewayError
from guideway.pipeline.stages.classify.learn import OF_THE_TOKENIZER
from guideway.pipeline.stages.classify.model import EncoderClassifier, load_classifier
from guideway.replica.classifier import FEATURES, GRAPH, LOGITS

OPSET = 17
BITS, BLOCK, COMPUTED_IN_INT8 = 8, 128, 4
SHAPES = ((1, 3), (3, 9), (5, 24))
"""Rows and tokens of the batches on which the export must agree with its source."""
TOLERANCE = 1e-3
"""The largest difference between two logits, in float32."""


def export(source: Path, out: Path, precision: str, *, features: bool = False) -> None:
    """Export the classifier in *source* to *out* for the processor, in fp32 or int8.

    With *features* the graph gives those too: what the encoder makes of a text, before the head names a class.

    int8: weights in eight bits, and what flows between quantised in blocks of a row while it is computed. ONNX
    Runtime's ``quantize_dynamic`` is faster and moves ten times as far; and it has one scale for a whole batch, so
    that the answer to a text depends on the texts that happen to wait beside it.

    Raises:
        GuidewayError: this encoder cannot be exported, or the export does not agree with it.
    """
    model = load_classifier(source, attention="eager")
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / GRAPH
        _trace(model, plain, features)
        _check(model, plain, features)
        if precision == "fp32":
            shutil.copyfile(plain, out / GRAPH)
        else:
            quantise(plain, out / GRAPH)
    copy_tokenizer(source, out)


def copy_tokenizer(source: Path, out: Path) -> None:
    """The files of the tokenizer in *source*, as they are."""
    for name in OF_THE_TOKENIZER:
        if (source / name).is_file():
            shutil.copyfile(source / name, out / name)


def quantise(plain: Path, out: Path) -> None:
    """Write *plain* in int8 to *out*: tables of embeddings first, which are only read; then the matrices."""
    tables = plain.with_name("tables.onnx")
    logging.getLogger("onnxruntime.quantization.matmul_nbits_quantizer").setLevel(
        logging.ERROR
    )  # it tells of each node
    quantize_dynamic(plain, tables, weight_type=QuantType.QInt8, op_types_to_quantize=["Gather"])
    asked = {"bits": BITS, "block_size": BLOCK, "is_symmetric": True, "accuracy_level": COMPUTED_IN_INT8}
    made = MatMulNBitsQuantizer(onnx.load(tables), op_types_to_quantize=("MatMul",), **asked)
    made.process()
    made.model.save_model_to_file(str(out), False)


class _Graph(torch.nn.Module):
    """The classifier with its mask written out, so that nothing in the graph depends on the shape that was traced."""

    def __init__(self, model: EncoderClassifier, features: bool) -> None:
        super().__init__()
        self.model, self.both = model, features

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        features = self.model.features(ids, mask, written_out(mask))
        logits: torch.Tensor = self.model.head(features)
        return (logits, features) if self.both else logits


def written_out(mask: torch.Tensor) -> torch.Tensor:
    """What attention adds to its scores for *mask* [rows, tokens]: as [rows, 1, tokens, tokens]."""
    closed = (1.0 - mask[:, None, None, :].to(torch.float32)) * torch.finfo(torch.float32).min
    return closed.expand(-1, 1, mask.shape[1], -1)


def _trace(model: EncoderClassifier, path: Path, features: bool) -> None:
    try:
        trace(_Graph(model, features), path, *_outputs(features))
    except Exception as error:
        raise _cannot(reason(error)) from error


def trace(graph: torch.nn.Module, path: Path, *outputs: str) -> None:
    """Write *graph*, of ids and mask, to *path*; it may raise whatever its encoder does."""
    graph.eval()
    ids = torch.ones((2, 7), dtype=torch.long)
    mask = torch.ones_like(ids)
    mask[1, 5:] = 0
    axes = {name: {0: "rows", 1: "tokens"} for name in ("input_ids", "attention_mask")}
    axes |= {name: {0: "rows"} for name in outputs}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of a tracer that is older, and needs no library that is not here
        torch.onnx.export(
            graph,
            (ids, mask),
            str(path),
            input_names=["input_ids", "attention_mask"],
            output_names=list(outputs),
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )


def reason(error: Exception) -> str:
    """The first line of what *error* says."""
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no reason'}"


def _outputs(features: bool) -> tuple[str, ...]:
    return (LOGITS, FEATURES) if features else (LOGITS,)


def _check(model: EncoderClassifier, path: Path, features: bool) -> None:
    """Does the export agree with *model*, for other shapes than the one that was traced, and with padding?"""
    for output in _outputs(features):
        said = model if output == LOGITS else model.features
        apart = largest_difference(said, path, output, model.encoder.config.vocab_size)
        if not apart <= TOLERANCE:
            raise _cannot(f"its export differs by {apart:.3g} in its {output}")


@torch.inference_mode()
def largest_difference(model: Callable[..., torch.Tensor], path: Path, output: str, vocabulary: int) -> float:
    """How far the export in *path* is from *model* in any number, on batches of ``SHAPES``; NaN where one is none."""
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    draw, apart = np.random.default_rng(7), 0.0
    for rows, tokens in SHAPES:
        ids = draw.integers(0, vocabulary, (rows, tokens))
        mask = np.ones_like(ids)
        mask[0, tokens - 1 :] = 0
        wanted = model(torch.from_numpy(ids), torch.from_numpy(mask)).numpy()
        (found,) = session.run([output], {"input_ids": ids, "attention_mask": mask})
        apart = np.maximum(apart, np.abs(wanted - found).max())
    return float(apart)


def _cannot(why: str) -> GuidewayError:
    return GuidewayError(
        f"the classifier cannot be exported: {why}", where="train.base", try_this="another encoder, such as BERT"
    )
