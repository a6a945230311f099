"""The JSON Schema of the spec, for editors."""

from __future__ import annotations

from typing import Any

import msgspec

from guideway.core.spec.model import Environment, Spec


def json_schema() -> dict[str, Any]:
    """JSON Schema 2020-12 of ``guideway.yaml``, overlays included."""
    (spec_ref, environment_ref), parts = msgspec.json.schema_components(
        [Spec, Environment], ref_template="#/$defs/{name}"
    )
    parts["Spec"]["properties"]["environments"] = {
        "type": "object",
        "description": "Overlays: what one environment sets differently.",
        "additionalProperties": environment_ref,
    }
    for part in parts.values():
        _allow_variables(part)
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "guideway.yaml",
        **spec_ref,
        "$defs": parts,
    }
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(schema))  # lists, as a reader of the file sees them
    return plain


def _allow_variables(part: dict[str, Any]) -> None:
    """A number may be written ``${VAR}``, which an editor sees as text."""
    for name, value in part.get("properties", {}).items():
        if value.get("type") in ("integer", "number", "boolean"):
            text = {"type": "string", "pattern": r"\$\{"}
            kept = {key: value[key] for key in ("default", "description") if key in value}
            part["properties"][name] = {"anyOf": [value, text], **kept}
