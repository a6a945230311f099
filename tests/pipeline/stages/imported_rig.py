"""Models that somebody else might have trained: small files of llama2.c, small graphs, and specs that import them."""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
from stage_rig import spec_of, write_jsonl

from guideway.core.spec import Spec

SHAPE = (32, 48, 2, 4, 2, 40, 24)
"""Width, feed-forward, layers, heads, heads of keys, vocabulary, context: heads of eight, which are filled up."""
LABELS = ["zeros", "ones", "twos"]


def write_llama2c(path: Path, shape: tuple[int, ...] = SHAPE, *, shared: bool = True, seed: int = 3) -> dict[str, Any]:
    """A file with random weights at *path*; the weights by name, as the file has them."""
    width, hidden, layers, heads, keys, vocabulary, context = shape
    head = width // heads
    draw = np.random.default_rng(seed)
    sizes: dict[str, tuple[int, ...]] = {
        "embedding": (vocabulary, width), "att": (layers, width), "wq": (layers, width, width),
        "wk": (layers, keys * head, width), "wv": (layers, keys * head, width), "wo": (layers, width, width),
        "ffn": (layers, width), "w1": (layers, hidden, width), "w2": (layers, width, hidden),
        "w3": (layers, hidden, width), "final": (width,), "rotary": (2, context, head // 2),
    }  # fmt: skip
    if not shared:
        sizes["classifier"] = (vocabulary, width)
    weights = {name: draw.normal(0, 0.4, size).astype(np.float32) for name, size in sizes.items()}
    numbers = (*shape[:5], vocabulary if shared else -vocabulary, context)
    path.write_bytes(struct.pack("<7i", *numbers) + b"".join(one.tobytes() for one in weights.values()))
    return weights


def forward(weights: dict[str, Any], heads: int, keys: int, ids: list[int]) -> np.ndarray:
    """The scores after each of *ids*, computed as llama2.c does it: neighbours are turned, and nothing is filled up."""
    x = weights["embedding"][ids].astype(np.float64)
    tokens, width = x.shape
    head = width // heads
    turns = np.arange(tokens)[:, None] * 10000.0 ** (-np.arange(0, head, 2) / head)

    def normed(x: np.ndarray, gain: np.ndarray) -> np.ndarray:
        return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + 1e-5) * gain

    def turned(x: np.ndarray) -> np.ndarray:
        pairs = (x[..., 0::2] + 1j * x[..., 1::2]) * np.exp(1j * turns)[:, None]
        return np.stack([pairs.real, pairs.imag], axis=-1).reshape(x.shape)

    for layer in range(len(weights["wq"])):
        own = {name: weights[name][layer] for name in ("att", "wq", "wk", "wv", "wo", "ffn", "w1", "w2", "w3")}
        seen = normed(x, own["att"])
        q = turned((seen @ own["wq"].T).reshape(tokens, heads, head))
        k = turned((seen @ own["wk"].T).reshape(tokens, keys, head)).repeat(heads // keys, axis=1)
        v = (seen @ own["wv"].T).reshape(tokens, keys, head).repeat(heads // keys, axis=1)
        scores = np.einsum("thd,shd->hts", q, k) / math.sqrt(head)
        scores[:, np.triu(np.ones((tokens, tokens), bool), 1)] = -np.inf
        share = np.exp(scores - scores.max(axis=-1, keepdims=True))
        share /= share.sum(axis=-1, keepdims=True)
        x = x + np.einsum("hts,shd->thd", share, v).reshape(tokens, width) @ own["wo"].T
        seen = normed(x, own["ffn"])
        gate = seen @ own["w1"].T
        x = x + (gate / (1 + np.exp(-gate)) * (seen @ own["w3"].T)) @ own["w2"].T
    last = weights.get("classifier", weights["embedding"])
    return normed(x, weights["final"]) @ last.T


def ids_spec(**parts: Any) -> Spec:
    """Imports the file ``model.bin``; rows are texts of token ids."""
    made: dict[str, Any] = {
        "task": "completion",
        "data": {"sources": [{"path": "rows.jsonl"}], "splits": {"test": {"share": 0.5}}},
        "train": {"recipe": "import", "base": "model.bin", "imported": {"origin": "a friend"}},
        "compress": {"precision": "fp32"},
    }
    return spec_of(**made | parts)


def write_ids(root: Path, rows: int = 24) -> None:
    """Rows of token ids in *root*."""
    draw = np.random.default_rng(5)
    texts = [" ".join(map(str, draw.integers(3, SHAPE[5], 12))) for _ in range(rows)]
    write_jsonl(root / "rows.jsonl", [{"text": text} for text in texts])


def write_graph(path: Path, *, size: int = 6, classes: int = 3, softmax: bool = True, **odd: Any) -> Path:
    """A classifier that says how many of its bytes are 0, 1 or 2, as an ONNX graph; *odd* changes what makes it so."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    kinds = np.arange(classes, dtype=np.int32).reshape(1, 1, classes)
    weight = numpy_helper.from_array(np.float32(odd.get("weight", [4.0])), "weight")
    nodes = [
        helper.make_node("Unsqueeze", ["octets", "axis"], ["wide"]),
        helper.make_node("Equal", ["wide", "kinds"], ["same"]),
        helper.make_node("Cast", ["same"], ["hits"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["hits"], ["share"], axes=[1], keepdims=0),
        helper.make_node("Mul", ["share", "weight"], ["logits"], domain=odd.get("domain", "")),
    ]
    nodes += [
        helper.make_node("Softmax", ["logits"], ["out"])
        if softmax
        else helper.make_node("Identity", ["logits"], ["out"])
    ]
    graph = helper.make_graph(
        nodes,
        "counts",
        [helper.make_tensor_value_info("octets", odd.get("kind", TensorProto.INT32), ["rows", size])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["rows", classes])],
        [numpy_helper.from_array(kinds, "kinds"), numpy_helper.from_array(np.int64([2]), "axis"), weight],
    )
    domains = {"", odd.get("domain", "")}
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid(one, 17) for one in domains], ir_version=8)
    onnx.save(model, path, save_as_external_data=odd.get("outside", False), size_threshold=0)
    return path


def graph_spec(**parts: Any) -> Spec:
    """Imports the graph ``model.onnx``; rows are bytes in base64 or plain texts."""
    about = {"labels": LABELS, "octets": {"begin": 4, "end": 2, "padding": 256, "least": 2, "strip": False}}
    made: dict[str, Any] = {
        "task": "classify",
        "data": {"sources": [{"path": "rows.jsonl"}], "splits": {"test": {"share": 1.0}}},
        "train": {"recipe": "import", "base": "model.onnx", "imported": about},
        "compress": {"precision": "fp32"},
    }
    return spec_of(**made | parts)


def write_bytes_rows(root: Path) -> None:
    """Rows whose bytes are mostly 0, 1 or 2, with the label that says so, and two that are labelled wrongly."""
    import base64

    rows = []
    for number, label in enumerate(LABELS):
        for count in range(6):
            content = bytes([number] * (6 + count))
            rows.append({"text": "data:;base64," + base64.b64encode(content).decode(), "label": label})
    rows.append({"text": "data:;base64," + base64.b64encode(bytes([2] * 40)).decode(), "label": "ones"})
    write_jsonl(root / "rows.jsonl", rows)
