"""A process described as data. An engine writes it, a target starts it, a test compares it."""

from __future__ import annotations

from typing import Literal

import msgspec

from guideway.core.artifact import Digest
from guideway.core.terms import Terms


class Probe(msgspec.Struct, frozen=True, omit_defaults=True):
    """A request that proves meaning: the replica is ready when the answer holds what a model computed.

    ``body`` is JSON text posted to ``path``; the answer must be 200. ``proves`` says what must be in it: for ``token``
    ``usage.completion_tokens >= 1``, for ``class`` a label and probabilities (`core.proof.no_class`), for
    ``embedding`` one of ``width`` numbers (`core.proof.no_embedding`). ``busy`` names gauges at ``/metrics`` that are
    above nought while the server answers somebody, where it would break off when it is asked to end: who stops it
    waits for them. Empty: it finishes by itself.
    """

    path: str
    body: str
    proves: Literal["token", "class", "embedding"] = "token"
    width: int = 0
    busy: tuple[str, ...] = ()


class Launch(msgspec.Struct, frozen=True):
    """How to start one model server on a port of this machine.

    ``argv`` is ``(interpreter, "-m", module, *arguments)`` when ``preload`` names that module: a target may
    then fork it from a process that has the module imported already, instead of starting cold. ``sheds`` are the
    beginnings of names: of the environment that a target hands on, variables so called stay behind. ``terms`` is
    what the release inside, and the server around it, ask of the gateway.
    """

    argv: tuple[str, ...]
    port: int
    probe: Probe
    env: tuple[tuple[str, str], ...] = ()
    preload: str | None = None
    sheds: tuple[str, ...] = ()
    terms: Terms = Terms()


class Process(msgspec.Struct, frozen=True):
    """A process that was started: its pid, and the kernel's start time, which tells a reused pid apart."""

    pid: int
    started: str


class Replica(msgspec.Struct, frozen=True):
    """One model server of one release. States: starting, ready, stopping. ``probe`` proves that it became ready."""

    id: str
    environment: str
    release: Digest
    port: int
    process: Process
    state: str
    log: str
    since: float
    probe: Probe | None = None
    terms: Terms = Terms()
