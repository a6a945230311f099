"""llama.cpp's own server over one export, for as long as somebody measures it: what is measured is what will serve."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import tempfile
import time
import weakref
from pathlib import Path
from typing import IO, Any

import msgspec

from guideway.core.errors import GuidewayError
from guideway.engines.llamacpp import SHEDS, command
from guideway.kit.process import free_port

PATIENCE = 600.0
"""Seconds until the model must be loaded."""
SILENCE = 600.0
"""Seconds that one answer may take."""
TAIL = 1 << 14
"""Bytes at the end of what it wrote that are looked at when it ended."""
LOOK = 0.02
"""Seconds between two looks whether it is ready."""
_WITH_US = (
    "import os, sys; from guideway.kit.process import die_with_parent;"
    "die_with_parent(int(sys.argv[1])); os.execv(sys.argv[2], sys.argv[2:])"
)


class Server:
    """A server over the folder *model* with so many *slots*; it ends when nobody holds it, and with our process.

    Raises:
        Unavailable: llama.cpp is not installed.
        GuidewayError: it cannot load the model.
    """

    def __init__(self, model: Path, *, threads: int, slots: int) -> None:
        port = free_port()
        argv = command(model, port=port, threads=threads, slots=slots)
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the server runs
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _WITH_US, str(os.getpid()), *argv],
            env={name: value for name, value in os.environ.items() if not name.startswith(SHEDS)},
            stdin=subprocess.DEVNULL,
            stdout=self._said,
            stderr=self._said,
        )
        self.pid = self._process.pid
        self.close = weakref.finalize(self, _end, self._process, self._said)
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SILENCE)
        self._wait()

    def ask(self, path: str, body: Any) -> bytes:
        """The answer to *body*, posted as JSON to *path*.

        Raises:
            GuidewayError: it refuses, or is gone.
        """
        try:
            self._connection.request("POST", path, msgspec.json.encode(body), {"Content-Type": "application/json"})
            response = self._connection.getresponse()
            found = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise GuidewayError(f"llama-server ended: {self._last_words() or type(error).__name__}") from None
        if response.status != http.client.OK:
            raise GuidewayError(f"llama-server refuses to measure: {found[:200].decode(errors='replace')}")
        return found

    def _wait(self) -> None:
        """Until the model is loaded."""
        end = time.monotonic() + PATIENCE
        while not self._ready():
            if self._process.poll() is not None or time.monotonic() > end:
                said = self._last_words() or "it says nothing"
                self.close()
                raise GuidewayError(
                    f"llama-server cannot load the export: {said}",
                    where="serve.engine",
                    try_this="a newer llama.cpp, or engine: onnx",
                )
            time.sleep(LOOK)

    def _ready(self) -> bool:
        try:
            self._connection.request("GET", "/health")
            response = self._connection.getresponse()
            response.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            return False
        return response.status == http.client.OK

    def _last_words(self) -> str:
        """The last line that it wrote."""
        size = os.fstat(self._said.fileno()).st_size
        text = os.pread(self._said.fileno(), TAIL, max(0, size - TAIL)).decode(errors="replace")
        return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


def _end(process: subprocess.Popen[bytes], said: IO[bytes]) -> None:
    process.kill()
    process.wait()
    said.close()
