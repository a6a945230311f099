"""``python -m guideway.gateway.companion --control FD [--stand-by] MODULE …``: run a module while the parent lives.

Limiter, admin plane and batches are processes of their own beside the workers. When the parent is gone, however it
went, the control socket closes and the companion is told to end as if by SIGTERM. On stand-by it loads what it needs,
says so, and waits for a word: the one before it holds sockets and locks until it has left.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import runpy
import signal
import socket
import sys
import threading

READY = b"\0"


def main() -> None:
    """Watch the socket, then become the module."""
    _, fd, *arguments = sys.argv[1:]
    control = socket.socket(fileno=int(fd))
    stand_by = arguments[0] == "--stand-by"
    module, *arguments = arguments[stand_by:]
    for ignored in (signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    if stand_by and not _told_to_go(control, module):
        return
    threading.Thread(target=_end_with_parent, args=(control,), daemon=True).start()
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _told_to_go(control: socket.socket, module: str) -> bool:
    """Load what *module* needs and wait for the word. False: the parent is gone."""
    main = f"{module}.__main__"
    if importlib.util.find_spec(module) and _has_main(main):
        importlib.import_module(main)
        del sys.modules[main]  # it is to run as the program, and would be found loaded already
    control.send(READY)
    return bool(control.recv(1))


def _has_main(main: str) -> bool:
    try:
        return importlib.util.find_spec(main) is not None
    except ModuleNotFoundError:  # a module of one file
        return False


def _end_with_parent(control: socket.socket) -> None:
    control.recv(1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
