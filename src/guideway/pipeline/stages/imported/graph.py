"""A classifier of bytes as an ONNX graph: one fixed input of whole numbers, one output with a number for each class.

The graph ships byte for byte. Only operators that ONNX itself defines are taken: others need a library that is not
part of a release. The weights lie inside the file.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray
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
    octets = _octets(model, about, path)
    shutil.copyfile(path, job.out / GRAPH)
    for softmax in (False, True):  # graphs end with it, or leave it to whoever reads them
        made = msgspec.structs.replace(octets, softmax=softmax)
        write_settings(job.out, ClassifierSettings(labels, octets.size, octets=made))
        if _says_probabilities(job.out, labels, octets.size, path.name):
            return count
    raise SpecError("what the graph says are no probabilities", where=path.name)


def _read(path: Path) -> onnx.ModelProto:
    try:
        return onnx.load(path, load_external_data=False)
    except Exception:  # of the decoder, which has errors of its own
        raise Corrupt("this is no whole ONNX model", where=path.name, try_this="fetch it again") from None


def _checked(model: onnx.ModelProto, name: str) -> int:
    """How many weights *model* has, once its operators and its weights are known to be sound."""
    count = 0
    nodes = [*_nodes(model.graph.node), *(node for made in model.functions for node in _nodes(made.node))]
    made = {(one.domain, one.name) for one in model.functions}
    for node in nodes:
        if node.domain not in DOMAINS and (node.domain, node.op_type) not in made:
            what = f"operator {node.op_type} of the domain '{node.domain}'"
            raise SpecError(f"the graph has the {what}, which ONNX does not define", where=name)
    for tensor in _tensors(model.graph, nodes):
        try:
            weights = numpy_helper.to_array(tensor)
        except Exception:  # of the decoder, which has errors of its own
            raise Corrupt(f"{tensor.name} is no tensor", where=name, try_this="fetch it again") from None
        if _broken(weights):
            raise Corrupt(f"{tensor.name} holds weights that are NaN or infinite", where=name)
        count += weights.size
    return count


def _nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """*nodes*, and those of the graphs inside them."""
    for node in nodes:
        yield node
        for inner in _inner(node):
            yield from _nodes(inner.node)


def _inner(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    return [graph for one in node.attribute for graph in ([one.g] if one.HasField("g") else one.graphs)]


def _tensors(graph: onnx.GraphProto, nodes: Sequence[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    """The weights of *graph*, of the graphs inside *nodes*, and what *nodes* bring as constants."""
    yield from graph.initializer
    for node in nodes:
        yield from (tensor for inner in _inner(node) for tensor in inner.initializer)
        yield from (one.t for one in node.attribute if one.HasField("t"))


def _broken(weights: NDArray[Any]) -> bool:
    """Is one of *weights* no number? A single infinity is no weight: graphs begin a maximum with it."""
    if not np.issubdtype(weights.dtype, np.floating):
        return False
    return bool(np.isnan(weights).any() or (weights.size > 1 and np.isinf(weights).any()))


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
    own = {"name": fed.name, "datatype": kind, "output": read.name, "softmax": False}
    return msgspec.convert(own | msgspec.structs.asdict(about.octets), Octets)


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


def _says_probabilities(out: Path, labels: Sequence[str], size: int, name: str) -> bool:
    """Does the code that serves get a probability for every label, for three rows that were made up?

    Raises:
        SpecError: the graph cannot be computed, or has more or fewer outputs than there are *labels*.
    """
    rows = [[(row * 97 + place) % 256 for place in range(size)] for row in range(3)]
    try:
        found = OctetClassifier(out).probabilities(rows)
    except Exception as error:  # of the engine, which has errors of its own
        raise SpecError(f"the graph cannot be computed: {str(error).splitlines()[0][:200]}", where=name) from None
    if found.shape != (len(rows), len(labels)):
        width = found.shape[-1] if found.ndim == 2 else 0
        raise SpecError(f"the graph has {width} outputs, and there are {len(labels)} labels", where=name)
    return bool((np.abs(found.sum(axis=1) - 1) <= SUM).all() and (found >= 0).all())
