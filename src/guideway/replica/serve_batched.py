"""The process of a replica that answers in one step: what waits is computed together, as classes or as embeddings."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, NamedTuple

from guideway.kit.http1 import Refusal
from guideway.replica.batching import TOKENS, Batcher, Row
from guideway.replica.serve import Answering, Arguments, parse, read_settings, run, until_told


class Batched(NamedTuple):
    """A model that is loaded: how it computes, and what answers requests by it.

    ``compute`` gives one row for each sequence of numbers. ``service`` makes of the name of the model, the batcher and
    the number of requests in the house what answers. ``most_tokens``: numbers in one batch, padding included.
    """

    compute: Callable[[Sequence[Sequence[int]]], Row]
    service: Callable[[str, Batcher, int], Answering]
    refusal: Refusal
    most_tokens: int = TOKENS


def serve_batched(prog: str, argv: Sequence[str], load: Callable[[Arguments], Batched]) -> int:
    """Serve until SIGTERM or SIGINT; the exit code. Errors are one line on standard error."""
    arguments = parse(prog, argv)

    def begin() -> Coroutine[Any, Any, int]:
        name = read_settings(arguments.release).name
        return _serve(arguments, name, load(arguments))

    return run(begin)


async def _serve(arguments: Arguments, name: str, model: Batched) -> int:
    loop = asyncio.get_running_loop()
    batcher = Batcher(model.compute, loop, arguments.slots, most_tokens=model.most_tokens)
    service = model.service(name, batcher, arguments.slots + arguments.queue)
    batcher.start()
    await until_told(arguments, name, service, model.refusal)
    batcher.stop()
    return 0
