"""How a model server is started. Built-ins in one dict; outsiders come by the entry points ``guideway.engines``."""

from __future__ import annotations

from importlib.metadata import entry_points

from guideway.core.errors import SpecError, did_you_mean
from guideway.core.protocols import Engine
from guideway.engines import llamacpp, onnx, openvino, transformers, vllm

ENGINES: dict[str, Engine] = {module.name: module for module in (onnx, openvino, transformers, llamacpp, vllm)}


def engine(name: str) -> Engine:
    """The engine called *name*; an outsider is loaded only when it is named.

    Raises:
        SpecError: there is none.
    """
    if name in ENGINES:
        return ENGINES[name]
    for entry in entry_points(group="guideway.engines", name=name):
        found: Engine = entry.load()
        return found
    raise SpecError(f"there is no engine called '{name}'", try_this=did_you_mean(name, ENGINES))
