"""Serve embeddings: ``python -m guideway.replica.serve_embedder --release DIR --port N``.

Importing this module loads the libraries, starts no thread and computes nothing, so it may be forked afterwards.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from guideway.replica.batching import Batcher
from guideway.replica.embedder import OnnxEmbedder
from guideway.replica.embeddings import Embedding, refusal
from guideway.replica.serve import Arguments
from guideway.replica.serve_batched import Batched, serve_batched


def main(argv: Sequence[str]) -> int:
    """Serve until told to stop; the exit code."""
    return serve_batched("guideway.replica.serve_embedder", argv, _loaded)


def _loaded(arguments: Arguments) -> Batched:
    model = OnnxEmbedder(arguments.release / "model", arguments.threads)

    def service(name: str, batcher: Batcher, limit: int) -> Embedding:
        return Embedding(name, model.settings, model.reader, batcher, limit=limit)

    return Batched(model.embed, service, refusal)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
