"""``python -m guideway.gateway.companion --control FD MODULE …``: run a module for as long as the parent lives.

Limiter, admin plane and batches are processes of their own beside the workers. When the parent is gone, however it
went, the control socket closes and the companion is told to end as if by SIGTERM.
"""

from __future__ import annotations

import os
import runpy
import signal
import socket
import sys
import threading


def main() -> None:
    """Watch the socket, then become the module."""
    _, fd, module, *arguments = sys.argv[1:]
    control = socket.socket(fileno=int(fd))
    threading.Thread(target=_end_with_parent, args=(control,), daemon=True).start()
    for ignored in (signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _end_with_parent(control: socket.socket) -> None:
    control.recv(1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
