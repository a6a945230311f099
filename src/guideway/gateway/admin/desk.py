"""What the admin plane knows and does, without a word about HTTP. Calls may block: they run in threads."""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import msgspec

from guideway.core.errors import SpecError, Unavailable
from guideway.core.route import ApiKey, GatewaySettings, Role, Route
from guideway.core.spec.gateway import Limits
from guideway.gateway.admin.prometheus import render
from guideway.gateway.admin.totals import Totals
from guideway.gateway.keys import KEY_BYTES, key_digest, new_key
from guideway.gateway.log import log
from guideway.gateway.settings import state_file
from guideway.kit.process import is_alive
from guideway.signing.keys import pepper
from guideway.store import api_keys, feedback, key_orders
from guideway.store.database import Database
from guideway.store.feedback_spool import waits
from guideway.store.home import Home

METRICS_FOLDER = "metrics"
DATABASE_SECONDS = 2.0
_DAY_SECONDS = 86_400.0

Then = Literal["replace", "stop"]


class NewKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a key is to be; ``expires_days`` from now, None: never."""

    label: str = ""
    tenant: str = ""
    role: Role = "user"
    models: tuple[str, ...] = ()
    limits: Limits | None = None
    expires_days: float | None = None


class Standing(msgspec.Struct, frozen=True):
    """What the parent says of itself."""

    pid: int
    started: str
    port: int
    workers: tuple[int, ...] = ()


class Desk:
    """The gateway of one environment as an operator sees it. *wall*: seconds since 1970."""

    def __init__(self, settings: Path, gateway: GatewaySettings, home: Home, wall: Callable[[], float]) -> None:
        self._state = state_file(settings)
        self._gateway, self._home, self._wall = gateway, home, wall
        self._totals = Totals(Path(gateway.folder) / METRICS_FOLDER)

    # Reading.

    def standing(self) -> Standing | None:
        """The parent, if it lives and serves."""
        try:
            found = msgspec.json.decode(self._state.read_bytes(), type=Standing)
        except (FileNotFoundError, msgspec.DecodeError):
            return None
        return found if is_alive(found.pid, found.started) else None

    def route(self) -> dict[str, Any]:
        """The route that the workers follow. Of the system prompts only whether there is one.

        Raises:
            Unavailable: there is none yet.
        """
        try:
            route = msgspec.json.decode(Path(self._gateway.route_file).read_bytes(), type=Route)
        except (OSError, msgspec.DecodeError):
            raise Unavailable("there is no route yet") from None
        shown: dict[str, Any] = msgspec.to_builtins(route)
        for arm in (shown["stable"], shown["candidate"]):
            if arm is not None:
                arm["terms"]["system"] = bool(arm["terms"]["system"])
        return shown

    def workers(self) -> list[dict[str, Any]]:
        """The workers that run, with what they do now; one that has told no numbers yet is named all the same."""
        serving = standing.workers if (standing := self.standing()) else ()
        live = {one.pid: one.snapshot for one in self._totals.read()[1]}
        return [
            {"pid": pid, "serves": pid in serving, **({"at": live[pid].at, **live[pid].gauges} if pid in live else {})}
            for pid in sorted({*serving, *live})
        ]

    def metrics(self, accept: str) -> tuple[bytes, str]:
        """The page for Prometheus, and its content type."""
        total, live = self._totals.read()
        now = self._wall()
        return render(total, live, now, accept, self._home.round_age(now))

    def keys(self) -> list[dict[str, Any]]:
        """All keys, without their digests."""
        with self._database() as database:
            return [_shown(key) for key in api_keys.all_of(database, self._gateway.environment)]

    # Changing.

    def make_key(self, asked: NewKey, who: str) -> dict[str, Any]:
        """A new key; the only time that anyone sees it.

        Raises:
            SpecError: the tenant is no name for one.
        """
        now = self._wall()
        expires = None if asked.expires_days is None else now + asked.expires_days * _DAY_SECONDS
        while True:
            text = new_key(secrets.token_bytes(KEY_BYTES))
            digest = key_digest(pepper(self._home.keys), text)
            key = ApiKey(
                id=digest[:8],
                digest=digest,
                label=asked.label,
                tenant=asked.tenant,
                role=asked.role,
                models=asked.models,
                limits=asked.limits,
                expires=expires,
            )
            with self._database() as database:
                if key_orders.make(self._home, database, self._gateway.environment, key, at=now, who=who):
                    return {**_shown(key), "key": text}

    def revoke_key(self, id: str, who: str) -> None:
        """Make a key worthless.

        Raises:
            SpecError: there is no such key.
        """
        with self._database() as database:
            environment = self._gateway.environment
            if not key_orders.revoke(self._home, database, environment, id, at=self._wall(), who=who):
                raise SpecError("there is no such key")

    def drain(self, then: Then) -> Standing:
        """Let every worker finish what it answers, and *then* replace it, or stop the gateway.

        Raises:
            Unavailable: no gateway runs.
        """
        standing = self.standing()
        if standing is None:
            raise Unavailable("no gateway runs")
        handle = os.pidfd_open(standing.pid)
        try:
            if not is_alive(standing.pid, standing.started):  # asked again: the handle may be of another process
                raise Unavailable("no gateway runs")
            signal.pidfd_send_signal(handle, signal.SIGHUP if then == "replace" else signal.SIGTERM)
        finally:
            os.close(handle)
        log("drain asked for", then=then)
        return standing

    def commit_feedback(self) -> None:
        """Make rows of the feedback that waits on this host.

        Raises:
            Unavailable: the state is away; everything waits on.
        """
        folder = Path(self._gateway.folder) / feedback.FOLDER
        if not waits(folder):
            return
        with self._database() as database:
            done = feedback.commit(database, folder)
        if done.lost:
            log("bytes of feedback could not be read", bytes=done.lost)

    def _database(self) -> Database:
        if not self._home.has_state:
            raise Unavailable("the state is not there", where=str(self._home.path))
        return Database(self._home.database, busy=DATABASE_SECONDS)


def _shown(key: ApiKey) -> dict[str, Any]:
    shown: dict[str, Any] = msgspec.to_builtins(key)
    del shown["digest"]
    return shown
