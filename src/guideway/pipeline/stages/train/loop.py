"""The loop of a training, whatever the model: steps, validations, checkpoints, early stopping, the curve.

It knows nothing of language: the caller brings a model, batches, the loss of a batch, and what a validation is.
Several processes may run it together (``ranks``): the first validates and keeps checkpoints, and all agree.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import msgspec
import torch

from guideway.core.errors import GuidewayError
from guideway.core.spec import Train
from guideway.pipeline.stages.train import ranks
from guideway.pipeline.stages.train.checkpoints import Checkpoints
from guideway.pipeline.stages.train.descent import Descent, schedule

POINTS = 100
"""Points in the curve, beside those of validations."""
QUIET = 1.0
"""Seconds after which a step says how far it is, even if it adds no point to the curve."""

Progress = Callable[[float, float, str], None]


class Validation(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one validation found: the mean loss, its standard error, the rows asked, and a few answers to look at.

    One row has no standard error.
    """

    loss: float
    error: float | None
    rows: int
    samples: tuple[str, ...] = ()


class Point(msgspec.Struct, frozen=True, omit_defaults=True):
    """The mean loss of the steps since the point before and up to ``step``, and the learning rate there."""

    step: int
    loss: float
    rate: float
    validation: Validation | None = None


class Learned(NamedTuple):
    """What came of a training. ``kept`` is the step whose weights the model has now."""

    curve: tuple[Point, ...]
    step: int
    kept: int
    resumed: int
    """The step of the checkpoint that it went on from; 0 when it began at the beginning."""
    unsaved: tuple[str, ...]
    """Checkpoints that could not be written, and why."""

    @property
    def validation(self) -> Validation | None:
        """The validation of the weights that were kept."""
        return next((point.validation for point in self.curve if point.step == self.kept), None)


class _State(msgspec.Struct):
    """Where a training is, beside its tensors."""

    step: int = 0
    curve: list[Point] = []
    losses: list[float] = []
    """Since the last point."""
    best: float | None = None
    kept: int = 0
    stale: int = 0
    """Validations without improvement."""


class Loop:
    """One training of a model.

    Args:
        descent: makes a step, and holds the model and the optimiser.
        supply: gives the batches from the first one on, the same ones every time.
        validate: judges the model as it is; None: nothing is validated.
        checkpoints: where the state is kept, to go on from there; None: nowhere.
        progress: told steps done, all steps, and a note.
        clock: seconds, for when to say something; nothing that is learned depends on it.
    """

    def __init__(
        self,
        descent: Descent,
        supply: Callable[[], Iterator[Any]],
        train: Train,
        *,
        validate: Callable[[], Validation] | None = None,
        checkpoints: Checkpoints | None = None,
        progress: Progress = lambda done, total, note: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.descent, self.model, self.train = descent, descent.model, train
        self.supply, self.validate, self.checkpoints = supply, validate, checkpoints
        self.progress, self.clock = progress, clock
        self.state, self.best, self.unsaved = _State(), dict[str, torch.Tensor](), list[str]()
        self._told = -math.inf
        self._began = (0.0, 0)

    def run(self) -> Learned:
        """Train to the last step, or until patience ends; the model then has the last weights, or the best ones.

        Raises:
            GuidewayError: the loss stopped being a number.
        """
        torch.manual_seed(self.train.seed + ranks.rank())  # or dropout would be the same in every process
        resumed = self._resume()
        batches = self.supply()
        for _ in range(resumed * self.train.accumulate):
            next(batches)
        self.model.train()
        self._began = (self.clock(), resumed)
        while self.state.step < self.train.steps and not self._tired():
            self._step([next(batches) for _ in range(self.train.accumulate)])
        if self.train.patience and self.best:
            _put(self.model, self.best)
        else:
            self.state.kept = self.state.step
        return Learned(tuple(self.state.curve), self.state.step, self.state.kept, resumed, tuple(self.unsaved))

    def _step(self, batches: list[Any]) -> None:
        state, steps = self.state, self.train.steps
        step = state.step + 1
        rate = schedule(step, steps, self.train.warmup)
        loss = self.descent.step(batches, self.train.learning_rate * rate)
        state.losses.append(_finite(loss, step))
        state.step = step
        last = step == steps
        found = self._validated() if last or step % every(self.train.validate_every, steps) == 0 else None
        if found or last or step % max(1, steps // POINTS) == 0:
            mean = sum(state.losses) / len(state.losses)
            state.curve.append(Point(step, mean, self.train.learning_rate * rate, found))
            state.losses.clear()
        self._tell(loss)
        if not last and step % every(self.train.checkpoint_every, steps) == 0:
            self._save()

    def _validated(self) -> Validation | None:
        """Judge the model, and remember its weights if it was never better."""
        if not self.validate:
            return None
        found = ranks.told(self._judged(self.validate) if ranks.first() else None, Validation)
        assert found
        state, loss = self.state, _finite(found.loss, self.state.step)
        state.stale += 1
        if state.best is None or loss < state.best:
            state.best, state.kept, state.stale = loss, state.step, 0
            if self.train.patience:
                self.best = {name: weight.detach().clone() for name, weight in _learning(self.model).items()}
        return found

    def _judged(self, validate: Callable[[], Validation]) -> Validation:
        self.model.eval()
        with torch.no_grad():
            found = validate()
        self.model.train()
        return found

    def _tired(self) -> bool:
        return self.train.patience is not None and self.state.stale >= self.train.patience

    def _tell(self, loss: float) -> None:
        """Say how far it is at every point, and where points are rare every second."""
        curve, now = self.state.curve, self.clock()
        new = bool(curve) and curve[-1].step == self.state.step
        if new or now - self._told >= QUIET:
            self._told = now
            checked = next((point.validation for point in reversed(curve) if point.validation), None)
            held = f", validation {checked.loss:.3f}" if checked else ""
            held += f" ± {checked.error:.3f}" if checked and checked.error is not None else ""
            note = f"loss {curve[-1].loss if new else loss:.3f}{held}{self._ahead(now)}"
            self.progress(self.state.step, self.train.steps, note)

    def _ahead(self, now: float) -> str:
        """The time left at the pace since this process began."""
        begun, resumed = self._began
        left = (now - begun) / (self.state.step - resumed) * (self.train.steps - self.state.step)
        return f", {_duration(left)} left" if left else ""

    def _save(self) -> None:
        """Keep the whole state. When that fails, the training is worth more than its checkpoint: it goes on."""
        if not self.checkpoints:
            return
        tensors = _random_states()
        if not ranks.first():
            return
        for prefix, some in (
            ("model", _learning(self.model)),
            ("best", self.best),
            ("descent", self.descent.tensors()),
        ):
            tensors |= {f"{prefix}.{name}": tensor for name, tensor in some.items()}
        try:
            self.checkpoints.save(self.state.step, tensors, msgspec.json.encode(self.state).decode())
        except OSError as error:
            self.unsaved.append(f"no checkpoint at step {self.state.step}: {error.strerror or error}")

    def _resume(self) -> int:
        """Go on from the newest checkpoint; its step, or 0."""
        found = self.checkpoints.newest() if self.checkpoints and ranks.first() else None
        damaged = self.checkpoints.damaged if self.checkpoints else ()
        self.unsaved += [f"a damaged checkpoint was not used: {one}" for one in damaged]
        text = ranks.told(found and found.state, str)
        if not text:
            ranks.same(_learning(self.model))
            return 0
        tensors = ranks.sent(found and found.tensors)
        self.state = msgspec.json.decode(text, type=_State)
        _put(self.model, _under("model", tensors))
        self.best = _under("best", tensors)
        self.descent.restore(_under("descent", tensors))
        torch.set_rng_state(tensors[f"random.cpu.{ranks.rank()}"])
        if torch.cuda.is_available() and f"random.cuda.{ranks.rank()}" in tensors:
            torch.cuda.set_rng_state(tensors[f"random.cuda.{ranks.rank()}"])
        return self.state.step


def _random_states() -> dict[str, torch.Tensor]:
    """Where the random numbers of every process are."""
    found = {"cpu": ranks.gathered(torch.get_rng_state())}
    if torch.cuda.is_available():
        found["cuda"] = ranks.gathered(torch.cuda.get_rng_state())
    return {f"random.{kind}.{rank}": one for kind, all_ in found.items() for rank, one in enumerate(all_)}


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def every(asked: int | None, steps: int) -> int:
    """Steps between two validations or checkpoints: what was *asked*, or a tenth of all *steps*."""
    return asked or max(1, steps // 10)


def _learning(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """What training may change: weights that learn, and buffers such as running means."""
    weights = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    saved = model.state_dict()
    return weights | {name: one for name, one in model.named_buffers() if name in saved}


def _put(model: torch.nn.Module, tensors: dict[str, torch.Tensor]) -> None:
    with torch.no_grad():
        for name, tensor in _learning(model).items():
            tensor.copy_(tensors[name])


def _under(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix(f"{prefix}."): one for name, one in tensors.items() if name.startswith(f"{prefix}.")}


def _finite(loss: float, step: int) -> float:
    if not math.isfinite(loss):
        raise GuidewayError(
            f"the loss became {loss} at step {step}",
            where="train.learning_rate",
            try_this="a lower learning rate, or a longer warmup",
        )
    return loss
