"""Streams of chat completions, all at once, from one thread: how many tokens a server makes in a second."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from typing import NamedTuple

PATIENCE = 300.0
"""Seconds that one round may take."""


class Round(NamedTuple):
    """What one round gave: tokens of all answers, and seconds until the last of them."""

    tokens: int
    seconds: float

    @property
    def speed(self) -> float:
        """Tokens per second, prompts included."""
        return self.tokens / self.seconds


def play(port: int, model: str, prompts: Sequence[str], tokens: int) -> Round:
    """Ask for a greedy answer of *tokens* tokens to every prompt at the same moment, each on a connection of its own.

    Raises:
        SystemExit: an answer is an error, or shorter or longer than asked for.
    """
    return asyncio.run(asyncio.wait_for(_play(port, model, prompts, tokens), PATIENCE))


async def _play(port: int, model: str, prompts: Sequence[str], tokens: int) -> Round:
    pipes = [await asyncio.open_connection("127.0.0.1", port) for _ in prompts]
    began = time.perf_counter()
    made = await asyncio.gather(
        *(_answer(*pipe, model, prompt, tokens) for pipe, prompt in zip(pipes, prompts, strict=True))
    )
    seconds = time.perf_counter() - began
    if set(made) != {tokens}:
        raise SystemExit(f"{model} answered with {sorted(set(made))} tokens instead of {tokens}")
    return Round(sum(made), seconds)


async def _answer(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, model: str, prompt: str, tokens: int
) -> int:
    """Read one stream to its end; the number of tokens that the server says it made."""
    asked = {"model": model, "messages": [{"role": "user", "content": prompt}], "max_tokens": tokens, "temperature": 0,
             "stream": True, "stream_options": {"include_usage": True}}  # fmt: skip
    body = json.dumps(asked).encode()
    head = "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    writer.write(f"{head}Connection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    made, said = 0, b""
    async for line in reader:
        said = line if line.strip() else said
        if line.startswith(b"data: {") and b'"usage"' in line:
            made = (json.loads(line[6:]).get("usage") or {}).get("completion_tokens", made)
    writer.close()
    if not made:
        raise SystemExit(f"{model} did not answer: {said.decode(errors='replace')[:300]}")
    return int(made)
