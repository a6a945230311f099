"""The stages in the order of the flow. Each is a module that meets ``core.protocols.Stage``."""

from __future__ import annotations

from typing import cast

from guideway.core.protocols import Stage
from guideway.core.spec import Spec
from guideway.pipeline.stages import (
    against,
    choose,
    compress,
    data,
    evaluate,
    explain,
    guard,
    judge,
    package,
    reference,
    refusals,
    scan,
    train,
    tune,
)

STAGES: dict[str, Stage] = {
    module.name: cast(Stage, module)
    for module in (
        data,
        reference,
        tune,
        choose,
        train,
        compress,
        evaluate,
        against,
        judge,
        explain,
        guard,
        refusals,
        package,
        scan,
    )
}


def stages_for(spec: Spec) -> dict[str, Stage]:
    """The stages that *spec* has: a stage with a function ``wanted`` says itself whether it is one of them."""
    return {name: stage for name, stage in STAGES.items() if getattr(stage, "wanted", lambda _spec: True)(spec)}
