"""ONNX by the builder of ONNX Runtime GenAI, made to give the same bytes for the same model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from guideway.core.errors import GuidewayError
from guideway.pipeline.stages.formats.scored import choose_scored
from guideway.pipeline.stages.formats.tokenizer import copy_tokenizer

if TYPE_CHECKING:
    from guideway.replica.onnx_backend import OnnxBackend
    from guideway.replica.score import OnnxScorer

name = "onnx"
mark = "genai_config.json"
libraries: tuple[str, ...] = ()
environment: Path | None = None

OPTIONS: dict[str, tuple[str, ...]] = {
    "fp32": (),
    "int8": ("block_size=128",),
    "int4": ("algo_config=k_quant_mixed",),
}
"""The builder's default for int4 flips ten times as many answers as ``k_quant_mixed``.

Eight bits need no scale for each 32 weights: with one for 128 they are a fifth faster and a tenth smaller, and no
further away than other exporters'.
"""
precisions = tuple(OPTIONS)
ALWAYS = ("hf_remote=false", "hf_token=false")
"""Never code from a model folder, never a token of the person who builds."""


def export(source: Path, out: Path, precision: str) -> None:
    """Export the Hugging Face folder *source* to *out* for the CPU.

    Raises:
        GuidewayError: the builder does not know this architecture, or cannot do this precision.
    """
    from onnxruntime_genai.models.builder import create_model, parse_extra_options

    cache = out / ".cache"
    names = ("", str(source), str(out), precision, "cpu", str(cache))
    try:
        create_model(*names, **parse_extra_options(*names, [*ALWAYS, *OPTIONS[precision]]))
    except Exception as error:
        raise GuidewayError(
            f"the model cannot be exported to {precision}: {type(error).__name__}: {str(error).strip() or 'no reason'}",
            where="compress.precision",
            try_this="another precision; the log has the whole story",
        ) from error
    shutil.rmtree(cache, ignore_errors=True)
    copy_tokenizer(source, out)  # as trained: the builder writes them again in its own way
    _settle(out / "genai_config.json")
    choose_scored(out / "model.onnx")


def scorer(folder: Path, threads: int) -> OnnxScorer:
    """The export in *folder*, on the session and the scheduler that serve it."""
    from guideway.replica.score import OnnxScorer

    return OnnxScorer(folder, threads)


def backend(folder: Path, slots: int, threads: int) -> OnnxBackend:
    """What the replica serves the export in *folder* with."""
    from guideway.replica.onnx_backend import OnnxBackend

    return OnnxBackend(folder, slots=slots, threads=threads)


def _settle(path: Path) -> None:
    """Sorted keys, so that the bytes depend on the content alone."""
    config = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(config, indent=1, sort_keys=True) + "\n", encoding="utf-8")
