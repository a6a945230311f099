"""Processes on this host, forked from a warm one where the engine allows it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from guideway.core.launch import Launch, Process
from guideway.kit.forkserver import ForkServer, ForkServerError, connect_or_start
from guideway.kit.process import is_alive, spawn_detached, terminate


class LocalTarget:
    """Starts launches on this host. They outlive whoever started them."""

    name = "local"

    def __init__(self, run_folder: Path, *, warm: bool = True) -> None:
        self._run, self._warm = run_folder, warm

    def start(self, launch: Launch, log: Path) -> Process:
        """Start *launch*; its output goes to *log*."""
        env = {**os.environ, **dict(launch.env)}
        if self._warm and launch.preload:
            with contextlib.suppress(ForkServerError):  # then it starts cold: slower, not different
                return self._fork(launch, launch.preload, env, log)
        return Process(*spawn_detached(launch.argv, env, log))

    def alive(self, process: Process) -> bool:
        """Is it still the same process, and running?"""
        return is_alive(process.pid, process.started)

    def stop(self, process: Process, grace: float) -> None:
        """Ask it to end, and after *grace* seconds make it."""
        terminate(process.pid, process.started, grace)

    def rest(self) -> None:
        """End the fork servers; what they forked goes on."""
        for path in (self._run / "fork").glob("*.sock"):
            ForkServer(path).stop()
            path.unlink(missing_ok=True)

    def _fork(self, launch: Launch, module: str, env: dict[str, str], log: Path) -> Process:
        server = connect_or_start(self.socket(module), module, log.with_name(f"forkserver-{module}.log"))
        return Process(*server.fork(launch.argv[launch.argv.index(module) + 1 :], env, log))

    def socket(self, module: str) -> Path:
        """Where the fork server of *module* listens."""
        folder = self._run / "fork"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder / f"{module}.sock"
