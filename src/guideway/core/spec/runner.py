"""The key ``runner``: where trainings and the trials of a search run. Nothing that is learned depends on it."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from msgspec import Meta

from guideway.core.errors import SpecError
from guideway.core.spec.marked import Marked
from guideway.core.spec.part import Part

_ADDRESS = re.compile(r"[^\s/@:]+:\d{1,5}")


class Runner(Part, frozen=True):
    """``local``: processes of this machine. ``ray``: workers of a Ray cluster that this machine belongs to.

    ``address`` is HOST:PORT of the cluster's head. Each process takes so many ``cpus`` and ``gpus``. After the loss of
    one, all begin anew at the last checkpoint, and a trial of a search from its beginning, so many ``restarts`` at the
    most.
    """

    kind: Literal["local", "ray"] = "local"
    address: str = ""
    cpus: Annotated[float, Meta(gt=0.0)] = 1.0
    gpus: Annotated[int, Meta(ge=0)] = 0
    restarts: Annotated[int, Meta(ge=0, le=1000)] = 3


def check_runner(runner: Runner, marked: Marked) -> None:
    """Refuse a cluster without an address, and an address that is none.

    Raises:
        SpecError: names the line.
    """
    if runner.kind == "ray" and not runner.address:
        raise SpecError(
            "runner 'ray' needs the address of a cluster",
            where=marked.where(("runner", "kind")),
            try_this="address: HOST:PORT, as `ray start --head` printed it",
        )
    if runner.address and not _ADDRESS.fullmatch(runner.address):
        raise SpecError(
            f"'{runner.address}' is not HOST:PORT",
            where=marked.where(("runner", "address")),
            try_this="the address that `ray start --head` printed, such as 10.0.0.5:6379",
        )
    if runner.address and runner.kind == "local":
        raise SpecError(
            "runner 'local' has no address", where=marked.where(("runner", "address")), try_this="kind: ray"
        )
