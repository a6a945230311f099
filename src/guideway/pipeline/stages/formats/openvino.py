"""OpenVINO IR by optimum-intel, its weights compressed by NNCF without any data; in an environment of its own."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guideway.core.errors import GuidewayError
from guideway.pipeline.stages.formats.tokenizer import copy_tokenizer

if TYPE_CHECKING:
    from guideway.replica.openvino_backend import OpenVinoBackend
    from guideway.replica.score import Scorer

name = "openvino"
mark = "openvino_model.xml"
libraries: tuple[str, ...] = ()
environment: Path | None = Path(__file__).with_suffix(".txt")

OPTIONS: dict[str, dict[str, Any]] = {
    "fp32": {},
    "int8": {"bits": 8},
    "int4": {"bits": 4, "sym": False, "group_size": 32},
}
"""In groups of 32 weights int4 stays near its source; the exporter's own groups are four times as large."""
precisions = tuple(OPTIONS)
SHIPPED = ("openvino_model.xml", "openvino_model.bin", "config.json", "generation_config.json")
"""What the server reads; the rest names folders of whoever exported."""


def export(source: Path, out: Path, precision: str) -> None:
    """Export the Hugging Face folder *source* to *out* for the CPU.

    Raises:
        GuidewayError: optimum-intel does not know this architecture, or cannot do this precision.
    """
    from optimum.intel import OVModelForCausalLM, OVWeightQuantizationConfig

    asked = OPTIONS[precision]
    kind = {"quantization_config": OVWeightQuantizationConfig(**asked)} if asked else {"load_in_8bit": False}
    try:
        model = OVModelForCausalLM.from_pretrained(
            str(source), export=True, compile=False, local_files_only=True, trust_remote_code=False, **kind
        )
        with tempfile.TemporaryDirectory(prefix=".openvino-", dir=out.parent) as work:
            model.save_pretrained(work)
            for one in SHIPPED:
                if (Path(work) / one).is_file():
                    shutil.move(Path(work) / one, out / one)
    except Exception as error:
        raise GuidewayError(
            f"the model cannot be exported to {precision}: {type(error).__name__}: {str(error).strip() or 'no reason'}",
            where="compress.precision",
            try_this="another precision; the log has the whole story",
        ) from error
    copy_tokenizer(source, out)


def scorer(folder: Path, threads: int) -> Scorer:
    """The export in *folder*, on the session and the scheduler that serve it."""
    from guideway.replica.backend import SLOTS
    from guideway.replica.score import Scorer

    return Scorer(backend(folder, SLOTS, threads), folder)


def backend(folder: Path, slots: int, threads: int) -> OpenVinoBackend:
    """What the replica serves the export in *folder* with."""
    from guideway.replica.openvino_backend import OpenVinoBackend

    return OpenVinoBackend(folder, slots=slots, threads=threads)
