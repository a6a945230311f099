"""The launch that all engines on our own model server share."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from guideway.core.launch import Launch, Probe
from guideway.core.release import ServeSettings

GREETING = "Hello, is anybody there?"
"""Long enough for a classifier of bytes too, which does not judge a few."""


def own_server(
    module: str, folder: Path, settings: ServeSettings, *, port: int, threads: int, env: tuple[tuple[str, str], ...]
) -> Launch:
    """The process that runs *module*, a server of the replica, over the release in *folder*."""
    arguments = ("--release", str(folder), "--port", str(port), "--threads", str(threads))
    return Launch(
        argv=(sys.executable, "-m", module, *arguments),
        port=port,
        probe=_probe(folder, settings),
        env=(*env, ("PYTHONSAFEPATH", "1")),  # never import from the folder that it happens to be started in
        preload=module,
    )


def _probe(folder: Path, settings: ServeSettings) -> Probe:
    if settings.task == "classify":
        return one_class(settings)
    return one_embedding(folder, settings) if settings.task == "embed" else one_token(settings)


def one_token(settings: ServeSettings) -> Probe:
    """A request for a single token: the smallest proof that a model answers."""
    asked = {"model": settings.name, "max_tokens": 1, "temperature": 0}
    if settings.task == "completion":
        return Probe("/v1/completions", _json({**asked, "prompt": [1]}))  # a token, for a model without a tokenizer
    return Probe("/v1/chat/completions", _json({**asked, "messages": [{"role": "user", "content": "Hello"}]}))


def one_class(settings: ServeSettings) -> Probe:
    """A request for the class of one text, with the probabilities of all classes."""
    text = {"name": "text", "shape": [1], "datatype": "BYTES", "data": [GREETING]}
    outputs = [{"name": name} for name in ("label", "score", "probabilities")]
    return Probe(f"/v2/models/{settings.name}/infer", _json({"inputs": [text], "outputs": outputs}), "class")


class _Embedder(msgspec.Struct):
    width: int = 0


def one_embedding(folder: Path, settings: ServeSettings) -> Probe:
    """A request for the embedding of one text, which must be as wide as the release in *folder* says.

    Where that does not say, the server will refuse to start, and says why itself.
    """
    try:
        width = msgspec.json.decode((folder / "model" / "embedder.json").read_bytes(), type=_Embedder).width
    except (OSError, msgspec.DecodeError):
        width = 0
    return Probe("/v1/embeddings", _json({"model": settings.name, "input": "Hello"}), "embedding", width)


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
