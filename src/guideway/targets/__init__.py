"""Where a launch runs. Built-ins in one dict; outsiders come by the entry points ``guideway.targets``."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

from guideway.core.errors import SpecError, did_you_mean
from guideway.core.protocols import Target
from guideway.targets.local import LocalTarget

TARGETS: dict[str, Callable[[Path], Target]] = {"local": LocalTarget}

__all__ = ["TARGETS", "LocalTarget", "exists", "target"]


def exists(name: str) -> bool:
    """Is there a target called *name*, ours or an outsider's? Loads nothing."""
    return name in TARGETS or bool(entry_points(group="guideway.targets", name=name))


def target(name: str, run_folder: Path) -> Target:
    """The target called *name*, which may keep sockets and files of its own in *run_folder*.

    Raises:
        SpecError: there is none.
    """
    if name in TARGETS:
        return TARGETS[name](run_folder)
    for entry in entry_points(group="guideway.targets", name=name):
        found: Target = entry.load()(run_folder)
        return found
    outsiders = entry_points(group="guideway.targets").names
    raise SpecError(f"there is no target called '{name}'", try_this=did_you_mean(name, {*TARGETS, *outsiders}))
