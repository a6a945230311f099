"""Serve a classifier: ``python -m guideway.replica.serve_classifier --release DIR --port N``.

Importing this module loads the libraries, starts no thread and computes nothing, so it may be forked afterwards.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from guideway.replica.batching import TOKENS, Batcher
from guideway.replica.inference import Classification
from guideway.replica.octets import open_classifier
from guideway.replica.oip import refusal
from guideway.replica.serve import Arguments
from guideway.replica.serve_batched import Batched, serve_batched


def main(argv: Sequence[str]) -> int:
    """Serve until told to stop; the exit code."""
    return serve_batched("guideway.replica.serve_classifier", argv, _loaded)


def _loaded(arguments: Arguments) -> Batched:
    model = open_classifier(arguments.release / "model", arguments.threads)
    octets = model.settings.octets
    most_tokens = octets.size * arguments.slots if octets else TOKENS  # rows of bytes are as long as they are

    def service(name: str, batcher: Batcher, limit: int) -> Classification:
        return Classification(name, model.settings, model.reader, batcher, limit=limit, tells=model.tells)

    return Batched(model.rows, service, refusal, most_tokens)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
