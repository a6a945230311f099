"""How a release speaks, as parameters of a stage. Read when a plan is made: no heavy library comes with it."""

from __future__ import annotations

from typing import Any

from guideway.core.spec import Spec
from guideway.pipeline.stages.package import shipped


def voice_of(spec: Spec) -> dict[str, Any]:
    """The parameters of a stage that asks the model that ships as the release will be asked."""
    return {
        "task": spec.task,
        "stop": list(spec.serve.decoding.stop),
        "most": spec.serve.decoding.max_tokens,
        "system": spec.serve.prompt.system,
        "template": spec.serve.prompt.template,
        "ships": shipped(spec),
    }
