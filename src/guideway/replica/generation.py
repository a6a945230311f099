"""One answer in the making: which token is next, which text it adds, and when it is over."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from guideway.replica.backend import Logits
from guideway.replica.sampling import Sampler
from guideway.replica.text import Reader, StopStrings
from guideway.replica.worker import Piece


class Generation:
    """The work that the scheduler does for one request.

    Args:
        prompt: token ids, at least one, fewer than the context holds.
        limit: tokens at most; the token that ends the answer counts.
        emit: called in the scheduler's thread for every piece; the last one has ``finish`` or ``error``.
    """

    def __init__(
        self,
        prompt: Sequence[int],
        sampler: Sampler,
        reader: Reader,
        stops: StopStrings,
        *,
        limit: int,
        stop_ids: Collection[int],
        emit: Callable[[Piece], None],
    ) -> None:
        self.prompt, self.cancelled, self.count = prompt, False, 0
        self._sampler, self._reader, self._stops = sampler, reader, stops
        self._limit, self._stop_ids, self._emit = limit, stop_ids, emit

    def pick(self, logits: Logits) -> int:
        """Choose the next token from its scores."""
        return self._sampler(logits)

    def take(self, token: int) -> bool:
        """Turn a token into text; False when the answer is over."""
        self.count += 1
        ended = token in self._stop_ids
        text, stopped = self._stops.push("" if ended else self._reader.push(token))
        if not (ended or stopped or self.count >= self._limit):
            if text:
                self._emit(Piece(text))
            return True
        if not stopped:
            rest, stopped = self._stops.push(self._reader.finish())
            text += rest if stopped else rest + self._stops.finish()
        self._emit(Piece(text, "stop" if ended or stopped else "length"))
        return False

    def fail(self, error: Exception) -> None:
        """Pass on why there will be no more text."""
        self._emit(Piece(error=error))
