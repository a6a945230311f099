"""A classifier of bytes as an ONNX graph: one fixed input of whole numbers, one output with a number for each class.

The graph ships byte for byte. Only operators that ONNX itself defines are taken: others need a library that is not
part of a release. The weights lie inside the file.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
from onnx import numpy_helper

from guideway.core.errors import Corrupt, SpecError
from guideway.core.protocols import Job
from guideway.core.spec import Imported
from guideway.pipeline.stages.train.base import refuse_unsafe_file
from guideway.replica.classifier import GRAPH, ClassifierSettings, Octets, write_settings
from guideway.replica.octets import TYPES, OctetClassifier

DOMAINS = ("", "ai.onnx", "ai.onnx.ml")
NUMBERS = {onnx.TensorProto.INT32: "INT32", onnx.TensorProto.INT64: "INT64"}
SUM = 1e-3
"""How far the outputs of a row may be from 1 together, where they are probabilities."""


def bring_in(job: Job, path: Path, about: Imported) -> int:
    """Write the graph in the file at *path* and its ``classifier.json`` to ``job.out``; how many weights it has.

    Raises:
        Refused: the file is unsafe.
        SpecError: the graph is no classifier of bytes as the spec says it is.
        Corrupt: it cannot be read, or holds weights that are no numbers.
    """
    refuse_unsafe_file(path, str(job.params["base"]))
    model = _read(path)
    count = _checked(model, path.name)
    labels = _labels(about, job.root)
    settings = ClassifierSettings(labels, about.octets.size if about.octets else 0, octets=_octets(model, about, path))
    shutil.copyfile(path, job.out / GRAPH)
    write_settings(job.out, settings)
    _try_out(job.out, settings, path.name)
    return count


def _read(path: Path) -> onnx.ModelProto:
    try:
        return onnx.load(path, load_external_data=False)
    except Exception:  # of the decoder, which has errors of its own
        raise Corrupt("this is no whole ONNX model", where=path.name, try_this="fetch it again") from None


def _checked(model: onnx.ModelProto, name: str) -> int:
    """How many weights *model* has, once its operators and its weights are known to be sound."""
    for node in model.graph.node:
        if node.domain not in DOMAINS:
            what = f"operator {node.op_type} of the domain '{node.domain}'"
            raise SpecError(f"the graph has the {what}, which ONNX does not define", where=name)
    count = 0
    for tensor in model.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise SpecError(
                f"the weights of {tensor.name} lie outside the file",
                where=name,
                try_this="save the model with its weights inside (onnx.save without external data)",
            )
        weights = numpy_helper.to_array(tensor)
        if np.issubdtype(weights.dtype, np.floating) and not np.isfinite(weights).all():
            raise Corrupt(f"{tensor.name} holds weights that are NaN or infinite", where=name)
        count += weights.size
    return count


def _octets(model: onnx.ModelProto, about: Imported, path: Path) -> Octets:
    """How the graph is fed and read.

    Raises:
        SpecError: it has other inputs or outputs than one of each, or of another shape.
    """
    assert about.octets, "the spec is checked: a graph has octets"
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [one for one in model.graph.input if one.name not in constants]
    if len(inputs) != 1 or len(model.graph.output) != 1:
        said = f"{len(inputs)} inputs and {len(model.graph.output)} outputs"
        raise SpecError(f"the graph has {said}, and a classifier of bytes has one of each", where=path.name)
    fed, read = inputs[0], model.graph.output[0]
    kind, width = NUMBERS.get(fed.type.tensor_type.elem_type), _width(fed)
    if kind not in TYPES or width is None:
        raise SpecError(f"the input '{fed.name}' is no matrix of whole numbers of a fixed width", where=path.name)
    if width != about.octets.size:
        raise SpecError(
            f"the input '{fed.name}' takes {width} numbers, and begin and end are {about.octets.size} together",
            where="train.imported.octets",
            try_this="mend begin or end",
        )
    last = next((node.op_type for node in model.graph.node if read.name in node.output), "")
    fields = msgspec.to_builtins(about.octets)
    return msgspec.convert(
        {**fields, "name": fed.name, "datatype": kind, "output": read.name, "softmax": last != "Softmax"}, Octets
    )


def _width(fed: onnx.ValueInfoProto) -> int | None:
    """The second of two dimensions, if it is fixed and the first is not."""
    sizes = fed.type.tensor_type.shape.dim
    return int(sizes[1].dim_value) or None if len(sizes) == 2 and not sizes[0].dim_value else None


def _labels(about: Imported, root: Path) -> tuple[str, ...]:
    """The classes in the order of the outputs.

    Raises:
        SpecError: there is no such list, or a name stands in it twice.
    """
    found: Any = about.labels
    if about.labels_from:
        file, _, key = about.labels_from.partition("#")
        try:
            found = json.loads((root / file).read_text(encoding="utf-8"))
            found = found[key] if key else found
        except (OSError, ValueError, KeyError, TypeError):
            raise SpecError(
                f"there is no list '{key}' in it", where=file, try_this="labels_from: FILE.json#KEY"
            ) from None
    if not isinstance(found, list | tuple) or not all(isinstance(one, str) and one for one in found):
        raise SpecError("labels are a list of names", where="train.imported", try_this="labels_from: FILE.json#KEY")
    if len(set(found)) < max(2, len(found)):
        raise SpecError("labels are two different names at least", where="train.imported")
    return tuple(found)


def _try_out(out: Path, settings: ClassifierSettings, name: str) -> None:
    """Ask the very code that serves for the class of three rows.

    Raises:
        SpecError: there are more or fewer outputs than labels, or they are no probabilities.
    """
    octets = settings.octets
    assert octets
    rows = [[(row * 97 + place) % 256 for place in range(octets.size)] for row in range(3)]
    try:
        found = OctetClassifier(out).probabilities(rows)
    except (ValueError, RuntimeError) as error:
        raise SpecError(f"the graph cannot be computed: {str(error).splitlines()[0][:200]}", where=name) from None
    if found.shape != (3, len(settings.labels)):
        width = found.shape[-1] if found.ndim == 2 else 0
        raise SpecError(f"the graph has {width} outputs, and there are {len(settings.labels)} labels", where=name)
    if not (np.isfinite(found).all() and (np.abs(found.sum(axis=1) - 1) <= SUM).all() and (found >= 0).all()):
        raise SpecError("what the graph says are no probabilities", where=name)
