"""A server over real HTTP around any backend, and ways to ask it."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import openai
import uvloop
from replica_fakes import Reciting, byte_tokenizer

from guideway.core.release import ServeSettings
from guideway.kit.http1 import Server
from guideway.replica.api import Service, refusal
from guideway.replica.backend import Backend
from guideway.replica.scheduler import Scheduler
from guideway.replica.text import Text
from guideway.replica.worker import Outbox, Worker

PATIENCE = 20.0
TOKENS = byte_tokenizer()
HELLO: Any = [{"role": "user", "content": "hello"}]


@contextlib.contextmanager
def served(backend: Backend, folder: Path, *, limit: int = 8, **settings: Any) -> Iterator[SimpleNamespace]:
    """A server of *backend* on a free port, its loop in a thread beside the test."""
    loop = uvloop.new_event_loop()
    outbox = Outbox(loop)
    worker = Worker(Scheduler(backend), outbox.send)
    known = ServeSettings(**{"name": "tiny", "task": "chat", "engine": "onnx", **settings})
    service = Service(
        known, Text(folder, known.template), worker.submit, outbox, context=backend.context, limit=limit,
        clock=lambda: 1_800_000_000.0,
    )  # fmt: skip
    server = Server(service.handle, refusal=refusal, body_limit=100_000)
    worker.start()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    asyncio.run_coroutine_threadsafe(server.start(), loop).result(PATIENCE)
    client = openai.OpenAI(base_url=f"http://127.0.0.1:{server.port}/v1", api_key="-", max_retries=0, timeout=PATIENCE)
    try:
        yield SimpleNamespace(client=client, port=server.port, backend=backend, service=service)
    finally:
        client.close()
        worker.stop()
        asyncio.run_coroutine_threadsafe(server.drain(1.0), loop).result(PATIENCE)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE)
        loop.close()


def reciting(text: str, **options: int) -> Reciting:
    """A model that says *text* again and again, with the end token after each."""
    return Reciting([*TOKENS.encode(text).ids, 2], TOKENS.get_vocab_size(), **options)


def call(port: int, method: str, path: str, body: bytes | str | None = None) -> tuple[int, dict[str, str], Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    connection.request(method, path, body)
    answer = connection.getresponse()
    said = answer.read()
    connection.close()
    return answer.status, dict(answer.getheaders()), json.loads(said)


def chat(port: int, **fields: Any) -> tuple[int, dict[str, str], Any]:
    return call(port, "POST", "/v1/chat/completions", json.dumps({"model": "tiny", "messages": HELLO, **fields}))
