"""The stages in the order of the flow. Each is a module that meets ``core.protocols.Stage``."""

from __future__ import annotations

from typing import cast

from guideway.core.protocols import Stage
from guideway.pipeline.stages import compress, data, evaluate, guard, package, scan, train

STAGES: dict[str, Stage] = {
    module.name: cast(Stage, module) for module in (data, train, compress, evaluate, guard, package, scan)
}
