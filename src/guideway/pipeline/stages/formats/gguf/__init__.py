"""GGUF for llama.cpp: written by us and by its own ``llama-quantize``, scored by its own ``llama-server``."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from guideway.core.errors import Unavailable
from guideway.engines.llamacpp import MODEL, QUANTIZE, SERVER, program

if TYPE_CHECKING:
    from guideway.pipeline.stages.formats.gguf.scorer import GgufScorer

name = "gguf"
mark = MODEL
precisions = ("fp32", "int8", "int4")
libraries = ("gguf", "llama.cpp")
environment: Path | None = None
INSTALL = "pip install 'guideway[gguf]'"


def programs(precisions: Sequence[str]) -> None:
    """Look for what makes, measures and serves these *precisions*: the library, and programs of llama.cpp.

    Raises:
        Unavailable: one is not installed.
    """
    if find_spec("gguf") is None:
        raise Unavailable("the engine llamacpp needs the library gguf", try_this=INSTALL)
    for one in (SERVER, *((QUANTIZE,) if "int4" in precisions else ())):
        program(one)


def export(source: Path, out: Path, precision: str) -> None:
    """Export the Hugging Face folder *source* to *out*: F32, Q8_0 or Q4_K_M.

    Raises:
        GuidewayError: GGUF cannot hold this model, or llama.cpp would read its text in another way.
        Unavailable: the library, or for int4 ``llama-quantize``, is not installed.
    """
    programs((precision,))
    from guideway.pipeline.stages.formats.gguf.write import export as write

    write(source, out, precision)


def scorer(folder: Path, threads: int) -> GgufScorer:
    """The export in *folder*, on the server that serves it."""
    from guideway.pipeline.stages.formats.gguf.scorer import GgufScorer

    return GgufScorer(folder, threads)
