"""The spec: what a team asks for, in one file."""

from guideway.core.spec.compress import Compress, Prune
from guideway.core.spec.evaluate import Evaluate, Perturb, Requirement, Slices
from guideway.core.spec.gateway import Gateway
from guideway.core.spec.imported import Imported, Octets, is_graph, is_import
from guideway.core.spec.load import SpecFile, load, state_url
from guideway.core.spec.model import (
    Data,
    Datasheet,
    Explain,
    Serve,
    Source,
    Spec,
    Split,
    Standard,
    Tightening,
    build_part,
)
from guideway.core.spec.rollout import Rollout
from guideway.core.spec.runner import Runner
from guideway.core.spec.schema import json_schema
from guideway.core.spec.train import Architecture, Contrast, Distill, Lora, Privacy, Train, Validation
from guideway.core.spec.tune import Tune

__all__ = [
    "Architecture",
    "Compress",
    "Contrast",
    "Data",
    "Datasheet",
    "Distill",
    "Evaluate",
    "Explain",
    "Gateway",
    "Imported",
    "Lora",
    "Octets",
    "Perturb",
    "Privacy",
    "Prune",
    "Requirement",
    "Rollout",
    "Runner",
    "Serve",
    "Slices",
    "Source",
    "Spec",
    "SpecFile",
    "Split",
    "Standard",
    "Tightening",
    "Train",
    "Tune",
    "Validation",
    "build_part",
    "is_graph",
    "is_import",
    "json_schema",
    "load",
    "state_url",
]
