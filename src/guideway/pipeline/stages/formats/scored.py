"""One change of an exported graph: from which token on a piece is scored becomes an input.

By itself a graph multiplies every token of a prompt with the whole vocabulary, of which only the last row is looked at.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto

LOGITS = "logits"
BY_ELEMENT = frozenset({"Cast", "Div", "Mul", "Tanh"})
"""What may come after the matrix of the vocabulary: scales and caps, number by number."""
MATRICES = frozenset({"MatMul", "MatMulNBits"})


def choose_scored(path: Path) -> bool:
    """Give the graph in the file *path* the input that says from which token on it scores; is that possible?

    The input has a default, the first token, so whoever does not know of it gets the scores of all. A graph that ends
    in another way than in a product with the vocabulary stays as it is.
    """
    import onnx

    model = onnx.load(str(path), load_external_data=False)
    matrix = _matrix(model.graph)
    if matrix is None:
        return False
    _cut(model.graph, matrix)
    onnx.save(model, str(path))
    return True


def _matrix(graph: GraphProto) -> NodeProto | None:
    """The product with the vocabulary."""
    makers: dict[str, Any] = {name: node for node in graph.node for name in node.output}
    node = makers.get(LOGITS)
    while node is not None and node.op_type in BY_ELEMENT:
        node = makers.get(node.input[0])
    return node if node is not None and node.op_type in MATRICES else None


def _cut(graph: GraphProto, matrix: NodeProto) -> None:
    """Let *matrix* see the tokens from the chosen one on."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    from guideway.replica.onnx_backend import FIRST

    all_of_them, end, axis = matrix.input[0], f"{FIRST}/end", f"{FIRST}/axis"
    matrix.input[0] = f"{FIRST}/hidden"
    graph.node.insert(
        list(graph.node).index(matrix), helper.make_node("Slice", [all_of_them, FIRST, end, axis], [matrix.input[0]])
    )
    values = {FIRST: 0, end: np.iinfo(np.int64).max, axis: 1}
    graph.initializer.extend(numpy_helper.from_array(np.array([one], np.int64), name) for name, one in values.items())
    graph.input.append(helper.make_tensor_value_info(FIRST, TensorProto.INT64, [1]))
    (logits,) = (one for one in graph.output if one.name == LOGITS)
    logits.type.tensor_type.shape.dim[1].dim_param = "scored_tokens"
