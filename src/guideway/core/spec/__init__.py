"""The spec: what a team asks for, in one file."""

from guideway.core.spec.gateway import Gateway
from guideway.core.spec.load import SpecFile, load, state_url
from guideway.core.spec.model import (
    Compress,
    Data,
    Datasheet,
    Evaluate,
    Explain,
    Requirement,
    Serve,
    Source,
    Spec,
    Split,
    Standard,
    Tightening,
    build_part,
)
from guideway.core.spec.rollout import Rollout
from guideway.core.spec.schema import json_schema
from guideway.core.spec.train import Architecture, Train, Validation

__all__ = [
    "Architecture",
    "Compress",
    "Data",
    "Datasheet",
    "Evaluate",
    "Explain",
    "Gateway",
    "Requirement",
    "Rollout",
    "Serve",
    "Source",
    "Spec",
    "SpecFile",
    "Split",
    "Standard",
    "Tightening",
    "Train",
    "Validation",
    "build_part",
    "json_schema",
    "load",
    "state_url",
]
