"""A process that has read all of the command line already, and becomes a call of it for everyone who asks.

Reading it takes longer than most verbs do, and tests call hundreds. What a call becomes is a process of its own, with
its own folder, environment and pipes, that runs ``python -m guideway.cli`` and ends as that does.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pkgutil
import runpy
import signal
import socket
import sys

import guideway.cli

LARGEST = 1 << 20
"""Bytes of one question: arguments, folder, environment."""


def main() -> None:
    """Serve the socket with the number ``argv[1]`` until it is closed; in a call's own process, run the call."""
    for module in pkgutil.iter_modules(guideway.cli.__path__):
        if module.name != "__main__":
            importlib.import_module(f"guideway.cli.{module.name}")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks how those who wait for calls ended
    with socket.socket(fileno=int(sys.argv[1])) as asking:
        while question := socket.recv_fds(asking, LARGEST, 4):
            said, pipes, _, _ = question
            if not said:
                return
            if os.fork() == 0:
                break
            for pipe in pipes:
                os.close(pipe)
    call(json.loads(said), *pipes)


def call(asked: dict, typed: int, out: int, err: int, status: int) -> None:
    """Let a child be the call, and tell *status* how it ended; the child returns to nobody."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    child = os.fork()
    if child:
        for pipe in (typed, out, err):
            os.close(pipe)
        with contextlib.suppress(BrokenPipeError):  # whoever asked waits no more
            os.write(status, b"%d\n" % child)
            os.write(status, b"%d\n" % os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        os._exit(0)
    os.close(status)
    for source, target in ((typed, 0), (out, 1), (err, 2)):
        os.dup2(source, target)
        os.close(source)
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    sys.argv = ["guideway", *asked["argv"]]
    runpy.run_module("guideway.cli", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
