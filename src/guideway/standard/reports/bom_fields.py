"""How complete a bill of materials is: a list of weighted fields, and which of them a bill fills in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from guideway.core.dossier import Dossier
from guideway.standard.reports.bom import bill
from guideway.standard.reports.drawn import Completeness, Drawn

Bill = Mapping[str, Any]


def bom_completeness(dossier: Dossier) -> Completeness:
    """The weight of the `FIELDS` that the bill of *dossier* fills in, as a share; and the names of the empty ones.

    Looks at the bill that would be written, so that it cannot promise what the bill does not hold.
    """
    found = bill(Drawn(dossier, (), (), 0.0), lambda licence: False)
    empty = tuple(field for field in FIELDS if not field.filled(found))
    whole = sum(field.weight for field in FIELDS)
    return Completeness((whole - sum(field.weight for field in empty)) / whole, tuple(field.name for field in empty))


class Weighted(NamedTuple):
    """One field of the bill: its weight, and whether a bill fills it in."""

    name: str
    weight: int
    filled: Callable[[Bill], bool]


def _of_model(*keys: str) -> Callable[[Bill], bool]:
    """Is there a value under *keys* of the model?"""
    return _of(("metadata", "component", *keys))


def _of(keys: tuple[str, ...]) -> Callable[[Bill], bool]:
    def filled(found: Bill) -> bool:
        value: Any = found
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        return bool(value)

    return filled


def _each(kind: str, *keys: str) -> Callable[[Bill], bool]:
    """Is there a component of *kind*, and has every one a value under *keys*?"""

    def filled(found: Bill) -> bool:
        listed = [one for one in found["components"] if one["type"] == kind]
        return bool(listed) and all(_of(keys)(one) for one in listed)

    return filled


def _each_data(*keys: str) -> Callable[[Bill], bool]:
    def filled(found: Bill) -> bool:
        listed = [one["data"][0] for one in found["components"] if one["type"] == "data"]
        return bool(listed) and all(_of(keys)(one) for one in listed)

    return filled


def _told(*names: str) -> Callable[[Bill], bool]:
    """Has the model every one of the properties *names*?"""

    def filled(found: Bill) -> bool:
        listed = {one["name"] for one in found["metadata"]["component"].get("properties", ())}
        return {f"guideway:{name}" for name in names} <= listed

    return filled


def _refers(kind: str) -> Callable[[Bill], bool]:
    def filled(found: Bill) -> bool:
        listed = found["metadata"]["component"].get("externalReferences", ())
        return any(one["type"] == kind for one in listed)

    return filled


def _metrics(key: str) -> Callable[[Bill], bool]:
    def filled(found: Bill) -> bool:
        card = found["metadata"]["component"].get("modelCard", {})
        return any(key in one for one in card.get("quantitativeAnalysis", {}).get("performanceMetrics", ()))

    return filled


def _has_weights(found: Bill) -> bool:
    listed = [entry for one in found["components"] if one["type"] == "file" for entry in one["properties"]]
    return {"name": "guideway:kind", "value": "weights"} in listed


def _depends(found: Bill) -> bool:
    return any(one.get("dependsOn") for one in found["dependencies"])


FIELDS: tuple[Weighted, ...] = (
    # who it is: 20
    Weighted("name", 2, _of_model("name")),
    Weighted("version", 4, _of_model("version")),
    Weighted("release_digest", 5, _of_model("hashes")),
    Weighted("package_url", 3, _of_model("purl")),
    Weighted("serial_number", 1, _of(("serialNumber",))),
    Weighted("timestamp", 1, _of(("metadata", "timestamp"))),
    Weighted("tool", 1, _of(("metadata", "tools", "components"))),
    Weighted("description", 3, _of_model("description")),
    # who answers, and what is allowed: 10
    Weighted("supplier", 4, _of_model("supplier")),
    Weighted("licence", 6, _of_model("licenses")),
    # the model card: 32
    Weighted("task", 2, _of_model("modelCard", "modelParameters", "task")),
    Weighted("approach", 2, _of_model("modelCard", "modelParameters", "approach")),
    Weighted("architecture_family", 2, _of_model("modelCard", "modelParameters", "architectureFamily")),
    Weighted("architecture", 2, _of_model("modelCard", "modelParameters", "modelArchitecture")),
    Weighted("inputs", 1, _of_model("modelCard", "modelParameters", "inputs")),
    Weighted("outputs", 1, _of_model("modelCard", "modelParameters", "outputs")),
    Weighted("parameters", 2, _told("parameters")),
    Weighted("hyperparameters", 3, _told("train:steps", "train:batch", "train:learning_rate", "train:seed")),
    Weighted("metrics", 4, _metrics("value")),
    Weighted("metric_slices", 1, _metrics("slice")),
    Weighted("metric_intervals", 3, _metrics("confidenceInterval")),
    Weighted("use_cases", 3, _of_model("modelCard", "considerations", "useCases")),
    Weighted("limitations", 3, _of_model("modelCard", "considerations", "technicalLimitations")),
    Weighted("oversight", 2, _of_model("modelCard", "considerations", "ethicalConsiderations")),
    Weighted("tradeoffs", 1, _of_model("modelCard", "considerations", "performanceTradeoffs")),
    # the data: 18
    Weighted("data", 4, _each("data", "name")),
    Weighted("data_digests", 3, _each("data", "hashes")),
    Weighted("data_licences", 4, _each("data", "licenses")),
    Weighted("data_descriptions", 2, _each("data", "description")),
    Weighted("data_governance", 2, _each_data("governance", "custodians")),
    Weighted("data_people", 3, _each_data("sensitiveData")),
    # files and software: 12
    Weighted("files", 3, _each("file", "name")),
    Weighted("file_digests", 3, _each("file", "hashes")),
    Weighted("weights", 2, _has_weights),
    Weighted("libraries", 2, _each("library", "version")),
    Weighted("library_package_urls", 1, _each("library", "purl")),
    Weighted("engine", 1, _told("engine")),
    # where it came from: 8
    Weighted("pedigree", 2, _of_model("pedigree")),
    Weighted("attestations", 2, _refers("attestation")),
    Weighted("evaluation", 2, _refers("quality-metrics")),
    Weighted("configuration", 1, _refers("configuration")),
    Weighted("dependencies", 1, _depends),
)
"""42 fields that weigh 100 together, in the manner of completeness scores for AI bills of materials.

What people ask first weighs most: which bytes, under which licence, made from what, how good, and for what use.
"""
