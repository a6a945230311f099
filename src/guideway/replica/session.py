"""A session of ONNX Runtime that shares its host with others."""

from __future__ import annotations

from pathlib import Path

import onnxruntime as ort

from guideway.core.errors import GuidewayError


def open_session(graph: Path, threads: int) -> ort.InferenceSession:
    """The model in the file *graph*, computed on the processor by so many *threads*.

    Raises:
        GuidewayError: onnxruntime cannot load it.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    # Spinning threads would take the processor from the other replicas of this host between two steps.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return ort.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        reason = str(error).splitlines()[0][:200]
        raise GuidewayError(f"onnxruntime cannot load the model: {reason}", where=str(graph)) from None
