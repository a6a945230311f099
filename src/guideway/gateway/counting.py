"""Tokens of requests whose engine tells none: counted by the release's own tokenizer, by a thread beside the loop.

The text is counted, of prompt and answer, with names and arguments of calls; what a chat template puts around turns,
descriptions of tools, and pictures are left out. Without the library (extra ``serve``) or the file nothing is counted
here, and the estimate stays. The tokenizer is loaded with the first answer that needs it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from guideway.gateway.log import log
from guideway.gateway.prepare import Prepared
from guideway.gateway.record import FREE, Record
from guideway.gateway.routing import ServingArm
from guideway.gateway.said import Said, texts_of_prompt
from guideway.gateway.usage import Usage

WAITING = 256
WAITING_BYTES = 16 * 1024 * 1024
"""What may wait to be counted; beyond it the estimate stands."""
KEPT = 2
"""Tokenizers: those of a stable release and a candidate."""

Size = Callable[[list[str]], int]
"""How many tokens these texts have, together."""


class Counting:
    """Counts for one worker. *finished* hears of a request when its tokens are known, or will never be."""

    def __init__(self, finished: Callable[[Record], None], load: Callable[[str], Size | None] | None = None) -> None:
        self._finished = finished
        self._load = load or load_tokenizer
        self._sizes: dict[str, Size | None] = {}
        self._thread: ThreadPoolExecutor | None = None
        self._waiting: dict[asyncio.Future[Usage | None], tuple[Record, int]] = {}
        self._bytes = 0

    def takes(self, record: Record, arm: ServingArm | None, prepared: Prepared | None) -> bool:
        """Count what *record* holds of the answer, which it holds no longer then. False: nobody will be told."""
        said, record.said = record.said, None
        known = record.usage is not None or record.cache in FREE
        if said is None or known or arm is None or prepared is None or not arm.terms.tokenizer:
            return False
        size = len(prepared.body) + said.size
        if len(self._waiting) >= WAITING or self._bytes + size > WAITING_BYTES:
            return False
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "counting")
        job = asyncio.get_running_loop().run_in_executor(
            self._thread, self._count, arm.terms.tokenizer, prepared.body, said
        )
        self._waiting[job] = record, size
        self._bytes += size
        job.add_done_callback(self._counted)
        return True

    def close(self) -> None:
        """The worker leaves: what is not counted yet stays an estimate."""
        if self._thread is not None:
            self._thread.shutdown(wait=False, cancel_futures=True)
        for job in tuple(self._waiting):
            self._end(job, None)

    def _counted(self, job: asyncio.Future[Usage | None]) -> None:
        if job in self._waiting:
            self._end(job, None if job.cancelled() or job.exception() is not None else job.result())

    def _end(self, job: asyncio.Future[Usage | None], found: Usage | None) -> None:
        record, size = self._waiting.pop(job)
        self._bytes -= size
        record.usage = found
        self._finished(record)

    # Below: on the thread.

    def _count(self, path: str, prompt: bytes, said: Said) -> Usage | None:
        if path not in self._sizes:
            while len(self._sizes) >= KEPT:
                del self._sizes[next(iter(self._sizes))]
            self._sizes[path] = self._load(path)
        size, asked = self._sizes[path], texts_of_prompt(prompt)
        if size is None or asked is None:
            return None
        texts, numbers = asked
        return Usage(size(texts) + numbers, size(said.texts()))


def load_tokenizer(path: str) -> Size | None:
    """What counts with the ``tokenizer.json`` at *path*; None: it cannot be read, or the library is not there."""
    try:
        from tokenizers import Tokenizer

        encode = Tokenizer.from_file(path).encode_batch_fast
    except Exception as error:  # the library raises whatever its own language gives it
        log("tokens are estimated", why=f"{type(error).__name__}: {error}")
        return None

    def size(texts: list[str]) -> int:
        return sum(len(one) for one in encode(texts, add_special_tokens=False))

    return size
