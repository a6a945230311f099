"""What would run now: the plan of a spec against what is kept. Apart from ``build``, so that asking is quick."""

from __future__ import annotations

from guideway.core.spec import SpecFile
from guideway.pipeline.plan import PlannedStep, plan
from guideway.pipeline.stages import stages_for
from guideway.pipeline.workshop import Workshop, for_environment


def planned(file: SpecFile, shop: Workshop) -> list[PlannedStep]:
    """The plan of *file* against what is kept."""
    return plan(
        file.spec, file.root, list(stages_for(file.spec).values()), for_environment(shop, file.environment).known
    )
