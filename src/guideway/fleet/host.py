"""This host's hands: unpack a release, start and probe replicas, start and stop gateways."""

from __future__ import annotations

import http.client
import json
import os
import sys
from pathlib import Path

import msgspec

from guideway.core.artifact import Digest, short
from guideway.core.launch import Launch, Probe, Process
from guideway.core.protocols import Target
from guideway.core.release import ServeSettings
from guideway.core.rollout import EnvironmentState
from guideway.engines import engine
from guideway.fleet.look import gateway_state
from guideway.fleet.project import project_gateway
from guideway.kit.process import free_port, spawn_detached, terminate
from guideway.sealing import verify
from guideway.sealing.pack import files_of, read_manifest
from guideway.signing.keys import trusted
from guideway.store.blobs import Blobs
from guideway.store.home import Home
from guideway.targets import TARGETS, target

DRAIN = 10.0
"""Seconds that a process gets to finish what it answers."""


class Host:
    """What the controller does on this machine. Methods block; the controller calls them from threads."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self._blobs = Blobs(home.oci)
        self._verified: set[Digest] = set()

    def target(self, name: str) -> Target:
        """The target called *name*, with its files below ``run/``."""
        return target(name, self.home.run)

    def start(self, state: EnvironmentState, release: Digest, id: str) -> tuple[Launch, Process]:
        """Verify and unpack *release*, and start one replica of it.

        Raises:
            Corrupt: a blob is missing or changed, or nobody trusted signed the release.
        """
        folder = self._unpacked(release)
        settings = msgspec.json.decode((folder / "serve.json").read_bytes(), type=ServeSettings)
        threads = max(1, (os.cpu_count() or 1) // state.replicas)
        launch = engine(settings.engine).launch(folder, settings, port=free_port(), threads=threads)
        return launch, self.target(state.target).start(launch, self.log(state.name, id))

    def log(self, environment: str, id: str) -> Path:
        """The log of one replica."""
        return self.home.logs / environment / f"replica-{id}.log"

    def gateway_log(self, environment: str) -> Path:
        """The log of the gateway."""
        return self.home.logs / environment / "gateway.log"

    def start_gateway(self, state: EnvironmentState) -> Process:
        """Start the gateway of an environment."""
        project_gateway(self.home, state)
        settings = self.home.environment(state.name) / "gateway.json"
        argv = [sys.executable, "-P", "-m", "guideway.gateway", "--settings", str(settings)]
        return Process(*spawn_detached(argv, dict(os.environ), self.gateway_log(state.name)))

    def stop_gateway(self, environment: str) -> None:
        """Stop the gateway of an environment, draining it."""
        running = gateway_state(self.home, environment)
        if running:
            terminate(running.pid, None, DRAIN + 2)

    def rest(self) -> None:
        """Nothing runs any more: let the targets end what they kept warm."""
        for name in TARGETS:
            self.target(name).rest()

    def _unpacked(self, release: Digest) -> Path:
        """The release as a folder of links, every byte read again the first time that this controller maps it."""
        folder = self.home.run / "releases" / short(release)
        if release not in self._verified:
            verify(self._blobs, release, trusted(self.home.keys))
            self._blobs.lay_out(files_of(read_manifest(self._blobs, release)), folder)
            self._verified.add(release)
        return folder


def generates(port: int, probe: Probe, timeout: float) -> bool:
    """Does the replica on *port* answer *probe* with at least one generated token?"""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("POST", probe.path, probe.body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        body = json.loads(answer.read(1 << 20))
        return answer.status == 200 and int(body["usage"]["completion_tokens"]) >= 1
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        return False
    finally:
        connection.close()


def last_words(log: Path) -> str:
    """The last line of a log that says something; empty when there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 4096))
            lines = file.read().decode("utf-8", "replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1].strip() if lines else ""
