"""A kept result is used only while all the code that made it is as it was."""

from __future__ import annotations

from functools import cache

import grimp
import pytest

from guideway.pipeline.stages import STAGES

PLACE = "guideway.pipeline.stages"
ROOMS = (f"{PLACE}.", "guideway.replica.")
"""Where what a stage does is written; what lies below has contracts of its own."""
LEARNERS = {f"{PLACE}.{name}.learn" for name in ("classify", "embed")}
"""They lie beside what reads and measures, and are run by training alone."""
SHAPES = {f"{PLACE}.explain.{name}" for name in ("attribution", "deletion")}
"""Of these, pages and plots know the types alone, unless explanations are what is told."""
TRAINERS = {f"{PLACE}.{name}" for name in ("choose", "imported")} | LEARNERS
"""What training may begin or end with; whoever trains again after pruning does neither."""
PLANNED = {
    f"{PLACE}.{name}" for name in ("choose", "depends", "evaluate", "formats", "package", "train.base", "train.places")
}
"""What a stage asks while it is planned: the answers are in its parameters, and so in its key."""


@cache
def graph():
    return grimp.build_graph("guideway", cache_dir=None)


def named(stage):
    return (f"{PLACE}.{stage}", *getattr(STAGES[stage], "code", ()))


def covered(stage):
    """The modules whose bytes are in the key of *stage*."""
    return {one for one in graph().modules if any(one == root or one.startswith(f"{root}.") for root in named(stage))}


def lacking(stage):
    """What code in the key imports, is not in the key itself, and may reach the result."""
    inside, found = covered(stage), set()
    for one in inside - (set() if stage in ("train", "tune") else LEARNERS):
        found |= graph().find_modules_directly_imported_by(one)
    idle = PLANNED | (set() if stage == "explain" else SHAPES) | (TRAINERS if stage == "compress" else set())
    return sorted(one for one in found - inside - idle if one.startswith(ROOMS))


@pytest.mark.parametrize("stage", STAGES)
def test_the_key_of_a_stage_has_all_code_of_its_rooms_that_the_result_depends_on(stage):
    assert lacking(stage) == []


def test_code_that_is_named_is_there():
    assert sorted({one for stage in STAGES for one in named(stage)} - graph().modules) == []
