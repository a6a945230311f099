"""Serve embeddings: ``python -m guideway.replica.serve_embedder --release DIR --port N``.

Importing this module loads the libraries, starts no thread and computes nothing, so it may be forked afterwards.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine, Sequence
from typing import Any

from guideway.replica.batching import Batcher
from guideway.replica.embedder import OnnxEmbedder
from guideway.replica.embeddings import Embedding, refusal
from guideway.replica.serve import Arguments, parse, read_settings, run, until_told


def main(argv: Sequence[str]) -> int:
    """Serve until told to stop; the exit code."""
    arguments = parse("guideway.replica.serve_embedder", argv)

    def load() -> Coroutine[Any, Any, int]:
        name = read_settings(arguments.release).name
        return _serve(arguments, name, OnnxEmbedder(arguments.release / "model", arguments.threads))

    return run(load)


async def _serve(arguments: Arguments, name: str, model: OnnxEmbedder) -> int:
    batcher = Batcher(model.embed, asyncio.get_running_loop(), arguments.slots)
    limit = arguments.slots + arguments.queue
    batcher.start()
    await until_told(arguments, name, Embedding(name, model.settings, model.reader, batcher, limit=limit), refusal)
    batcher.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
