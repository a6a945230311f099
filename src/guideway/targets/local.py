"""Processes on this host, forked from a warm one where the engine allows it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from guideway.core.errors import Unavailable
from guideway.core.launch import Launch, Process
from guideway.kit.forkserver import ForkServer, ForkServerError, connect_or_start
from guideway.kit.process import is_alive, open_log, spawn_detached, terminate, writers


class LocalTarget:
    """Starts launches on this host. They outlive whoever started them.

    ``warm`` keeps one process per preloaded module, which has imported it and is forked; its socket and log lie in
    ``run_folder/fork``. Where it cannot be forked, a launch starts cold: slower, not different.
    """

    name = "local"

    def __init__(self, run_folder: Path, *, warm: bool = True) -> None:
        self._folder, self._warm = run_folder / "fork", warm

    def start(self, launch: Launch, log: Path) -> Process:
        """Start *launch*; its output goes to *log*, of which no other process may be using the name.

        Raises:
            Unavailable: the program is not there or may not be run, or the log cannot be written.
        """
        kept = {name: value for name, value in os.environ.items() if not name.startswith(launch.sheds)}
        env = {**kept, **dict(launch.env)}
        try:
            return self._fork(launch, env, log) or Process(*spawn_detached(launch.argv, env, log))
        except OSError as error:
            raise Unavailable(f"{launch.argv[0]} cannot be started: {error.strerror}", where=str(log)) from None

    def alive(self, process: Process) -> bool:
        """Is it still the same process, and running?"""
        return is_alive(process.pid, process.started)

    def stop(self, process: Process, grace: float) -> None:
        """Ask it to end, and after *grace* seconds make it. Returns when it is gone."""
        terminate(process.pid, process.started, grace)

    def rest(self) -> None:
        """End the processes that were kept warm; what was forked from them goes on."""
        for path in self._folder.glob("*.sock"):
            ForkServer(path).stop()

    def socket(self, module: str) -> Path:
        """Where the process that has imported *module* listens."""
        return self._folder / f"{module}.sock"

    def _fork(self, launch: Launch, env: dict[str, str], log: Path) -> Process | None:
        """Fork *launch* from a warm process; None when it must start cold."""
        module = launch.preload
        if not self._warm or module is None or launch.argv[0] != sys.executable or module not in launch.argv:
            return None
        arguments = launch.argv[launch.argv.index(module) + 1 :]
        try:
            server = connect_or_start(self.socket(module), module, self._folder / f"{module}.log")
            return Process(*server.fork(arguments, env, log))
        except ForkServerError as error:
            _say(log, f"starting cold: {error}")
            for pid, started in writers(log):  # it may have forked and then failed to tell us
                terminate(pid, started, 0.0)
            return None


def _say(log: Path, text: str) -> None:
    handle = open_log(log)
    os.write(handle, f"{text}\n".encode())
    os.close(handle)
