"""One answer in the making: which token is next, which text it adds, and when it is over."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from guideway.replica.backend import Logits
from guideway.replica.logprobs import Mark, Trail, measure
from guideway.replica.sampling import Sampler
from guideway.replica.steering import Steering
from guideway.replica.text import Reader, StopStrings
from guideway.replica.worker import Piece


class Generation:
    """The work that the scheduler does for one request.

    Args:
        prompt: token ids, at least one, fewer than the context holds.
        limit: tokens at most; the token that ends the answer counts.
        emit: called in the scheduler's thread for every piece; the last one has ``finish`` or ``error``.
        steering: changes the scores first.
        top: mark every token, with so many of the likeliest in its place; None: no marks.
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
        steering: Steering | None = None,
        top: int | None = None,
    ) -> None:
        self.prompt, self.cancelled, self.count = prompt, False, 0
        self._sampler, self._reader, self._stops = sampler, reader, stops
        self._limit, self._stop_ids, self._emit = limit, stop_ids, emit
        self._steering, self._top = steering, top
        self._mark: Mark | None = None
        self._trail = Trail()
        self._read = self._shown = 0

    def pick(self, logits: Logits) -> int:
        """Choose the next token from its scores."""
        token = self._sampler(logits if self._steering is None else self._steering(logits))
        if self._top is not None:
            self._mark = measure(logits, token, self._top)
        return token

    def take(self, token: int) -> bool:
        """Turn a token into text; False when the answer is over."""
        self.count += 1
        ended = token in self._stop_ids
        text, stopped = self._let_through("" if ended else self._text_of(token))
        ended = ended or (self._steering is not None and self._steering.over)
        if not (ended or stopped or self.count >= self._limit):
            self._show(text)
            return True
        if not stopped:
            rest, stopped = self._let_through(self._reader.finish())
            text += rest if stopped else rest + self._stops.finish()
        self._show(text, "stop" if ended or stopped else "length", all_marks=not stopped)
        return False

    def fail(self, error: Exception) -> None:
        """Pass on why there will be no more text."""
        self._emit(Piece(error=error))

    def _let_through(self, text: str) -> tuple[str, bool]:
        """What of *text* may be shown now, and whether a stop string was reached; none is looked for within a form."""
        if self._steering is not None and self._steering.holds:
            return self._stops.finish() + text, False
        return self._stops.push(text)

    def _text_of(self, token: int) -> str:
        if self._steering is not None:
            self._steering.push(token)
        if self._mark is not None:
            self._trail.add(self._mark, self._read)
        text = self._reader.push(token)
        self._read += len(text)
        return text

    def _show(self, text: str, finish: str | None = None, *, all_marks: bool = False) -> None:
        self._shown += len(text)
        marks = self._trail.rest() if all_marks else self._trail.until(self._shown)
        if text or marks or finish is not None:
            self._emit(Piece(text, finish, marks=marks))
