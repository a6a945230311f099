"""The launch that all engines on our own model server share."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from guideway.core.launch import Launch, Probe
from guideway.core.release import ServeSettings


def own_server(
    module: str, folder: Path, settings: ServeSettings, *, port: int, threads: int, env: tuple[tuple[str, str], ...]
) -> Launch:
    """The process that runs *module*, a server of the replica, over the release in *folder*."""
    arguments = ("--release", str(folder), "--port", str(port), "--threads", str(threads))
    return Launch(
        argv=(sys.executable, "-m", module, *arguments),
        port=port,
        probe=one_token(settings),
        env=(*env, ("PYTHONSAFEPATH", "1")),  # never import from the folder that it happens to be started in
        preload=module,
    )


def one_token(settings: ServeSettings) -> Probe:
    """A request for a single token: the smallest proof that a model answers."""
    asked = {"model": settings.name, "max_tokens": 1, "temperature": 0}
    if settings.task == "completion":
        return Probe("/v1/completions", _json({**asked, "prompt": "Hello"}))
    return Probe("/v1/chat/completions", _json({**asked, "messages": [{"role": "user", "content": "Hello"}]}))


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
