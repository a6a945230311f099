"""What both built-in engines share: the arguments of our own model server, and a probe that generates a token."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from guideway.core.launch import Launch, Probe
from guideway.core.release import ServeSettings


def launch(module: str, folder: Path, settings: ServeSettings, *, port: int, threads: int) -> Launch:
    """Start *module*, a server in the room ``replica``, on the release in *folder*."""
    arguments = ("--release", str(folder), "--port", str(port), "--threads", str(threads))
    return Launch(
        argv=(sys.executable, "-P", "-m", module, *arguments),
        port=port,
        probe=probe(settings),
        preload=module,
    )


def probe(settings: ServeSettings) -> Probe:
    """One token, asked for the way a client would."""
    if settings.task == "chat":
        body = {"model": settings.name, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1}
        return Probe("/v1/chat/completions", json.dumps(body))
    return Probe("/v1/completions", json.dumps({"model": settings.name, "prompt": "Hello", "max_tokens": 1}))
