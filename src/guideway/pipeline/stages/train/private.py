"""Training with differential privacy (Abadi et al. 2016): each row's gradient is clipped, and noise is added.

The unit is one row: one example is made of each. Which rows a step sees (a Poisson sample) and the noise come from
generators seeded by the operating system and told to nobody: with the seed of the spec, whoever has the release could
subtract the noise. So a private training does not repeat itself to the bit, unless it goes on from a checkpoint.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from opacus.accountants import RDPAccountant
from opacus.accountants.utils import get_noise_multiplier
from opacus.grad_sample import GradSampleModule
from opacus.optimizers import DPOptimizer

from guideway.core.errors import GuidewayError
from guideway.core.spec import Privacy, Train
from guideway.pipeline.stages.examples import Example
from guideway.pipeline.stages.train.descent import Descent
from guideway.pipeline.stages.train.language import IGNORED, tensors

CLOSE = 1e-3
"""The largest difference, as a share of its norm, between a row's gradient in a batch and alone."""
_OWN = ("noise", "sampling", "mean")
"""Names in a checkpoint of what the optimiser knows nothing of."""


class PrivateDescent(Descent):
    """Moves *model* by the clipped gradients of Poisson samples of *examples*, plus noise for the ε that is asked for.

    Args:
        draw: gives secret seeds of 63 bits.

    Raises:
        GuidewayError: the batch is larger than the data, δ is too large for so few rows, ε cannot be had, or the
            gradient of a single row cannot be told from the others in this model.
    """

    def __init__(
        self,
        model: Any,
        examples: Sequence[Example],
        train: Train,
        draw: Callable[[], int] = lambda: secrets.randbits(63),
    ) -> None:
        assert train.privacy
        self.examples, self.asked = examples, train.privacy
        self.rate = _rate(train, len(examples))
        self.noise = noise_for(self.asked, self.rate, train.steps)
        self._noise = torch.Generator(model.device).manual_seed(draw())
        self._sampling = draw()
        self._mean = 0.0
        super().__init__(model, lambda batch: (_row_losses(model, batch).sum(), len(batch)), train)
        self._watched = _watched(model)
        _check_rows(model, examples[:2])
        self.optimizer: Any = DPOptimizer(
            self.optimizer,
            noise_multiplier=self.noise,
            max_grad_norm=self.asked.max_grad_norm,
            expected_batch_size=train.batch * train.accumulate,
            generator=self._noise,
        )

    def supply(self) -> Iterator[list[Example]]:
        """Poisson samples without end: every row is in each of them with the same small chance."""
        generator = torch.Generator().manual_seed(self._sampling)
        while True:
            chosen = torch.rand(len(self.examples), generator=generator) < self.rate
            yield [self.examples[index] for index in chosen.nonzero()[:, 0].tolist()]

    def step(self, batches: Sequence[Sequence[Example]], rate: float) -> float:
        """One step; the mean loss over the rows of the sample, or the one before where the sample is empty."""
        (sample,) = batches
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        total, size = 0.0, self.train.batch
        chunks = [sample[at : at + size] for at in range(0, len(sample), size)] or [[]]
        for number, chunk in enumerate(chunks, 1):
            self.optimizer.zero_grad(set_to_none=True)
            total += self._gradients(chunk)
            self.optimizer.signal_skip_step(do_skip=number < len(chunks))
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self._mean = total / len(sample) if sample else self._mean
        return self._mean

    def spent(self, steps: int) -> float:
        """The ε that so many *steps* cost, at the δ that was asked for."""
        return spent(self.noise, self.rate, steps, self.asked.delta)

    def close(self) -> None:
        """Leave the model as a plain one."""
        self._watched.to_standard_module()

    def tensors(self) -> dict[str, torch.Tensor]:
        """The state of the optimiser, of the noise, and of the sampling."""
        mean = torch.tensor([self._mean], dtype=torch.float64)
        own = (self._noise.get_state(), torch.tensor([self._sampling]), mean)
        return super().tensors() | dict(zip(_OWN, own, strict=True))

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Go on from what ``tensors`` gave: the same samples, and the noise from where it was."""
        super().restore({name: one for name, one in tensors.items() if name not in _OWN})
        self._noise.set_state(tensors["noise"])
        self._sampling, self._mean = int(tensors["sampling"][0]), float(tensors["mean"][0])

    def _gradients(self, rows: Sequence[Example]) -> float:
        """Leave the gradient of every row at the weights; the sum of the losses."""
        if not rows:  # a sample may be empty, and noise is added all the same
            for weight in self.optimizer.params:
                weight.grad_sample = weight.new_zeros((0, *weight.shape))
            return 0.0
        loss, _ = self.loss(rows)
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())


def spent(noise: float, rate: float, steps: int, delta: float) -> float:
    """The ε of so many *steps* of the subsampled Gaussian mechanism, by Rényi differential privacy (Mironov 2017)."""
    if not steps:
        return 0.0
    accountant = RDPAccountant()
    accountant.history = [(noise, rate, steps)]
    return float(accountant.get_epsilon(delta))


def noise_for(asked: Privacy, rate: float, steps: int) -> float:
    """The noise, as a multiple of the clipping norm, with which all *steps* cost no more than the ε that is asked for.

    Raises:
        GuidewayError: no noise is enough.
    """
    try:
        found = float(
            get_noise_multiplier(
                target_epsilon=asked.epsilon,
                target_delta=asked.delta,
                sample_rate=rate,
                steps=steps,
                accountant="rdp",
            )
        )
    except ValueError as error:
        raise GuidewayError(
            f"no noise gives ε {asked.epsilon:g} at δ {asked.delta:g} in {steps:,} steps",
            where="train.privacy.epsilon",
            try_this="fewer steps, a smaller batch, more rows, or a larger epsilon",
        ) from error
    assert spent(found, rate, steps, asked.delta) <= asked.epsilon
    return found


def _rate(train: Train, rows: int) -> float:
    """The chance of a row to be in the sample of a step."""
    expected = train.batch * train.accumulate
    assert train.privacy
    if expected > rows:
        raise GuidewayError(
            f"{expected} rows per step of {rows} are no sample", where="train.batch", try_this="a smaller batch"
        )
    if train.privacy.delta >= 1 / rows:
        raise GuidewayError(
            f"δ {train.privacy.delta:g} allows one of {rows:,} rows to be told outright",
            where="train.privacy.delta",
            try_this=f"far less than {1 / rows:.1g}",
        )
    return expected / rows


def _watched(model: torch.nn.Module) -> Any:
    try:
        return GradSampleModule(model, batch_first=True, loss_reduction="sum", strict=True)
    except (NotImplementedError, ValueError) as error:
        raise _not_told(str(error).splitlines()[0]) from error


def _row_losses(model: Any, rows: Sequence[Example]) -> torch.Tensor:
    """The mean loss over the predicted tokens of each of *rows*; the batch stays the first dimension everywhere."""
    batch = tensors(rows, model.device)
    logits = model(input_ids=batch.ids, use_cache=False).logits.float()
    each = torch.nn.functional.cross_entropy(
        logits.transpose(1, 2), batch.targets, ignore_index=IGNORED, reduction="none"
    )
    return each.sum(dim=1) / batch.wanted.sum(dim=1)


def _check_rows(model: Any, rows: Sequence[Example]) -> None:
    """Compare the gradients of two rows, found in one batch, with those found one by one: they must be the same."""
    model.train()
    for one in model.modules():
        one.train(not isinstance(one, torch.nn.Dropout))
    learning = [weight for weight in model.parameters() if weight.requires_grad]
    _row_losses(model, rows).sum().backward()  # type: ignore[no-untyped-call]
    together = [weight.grad_sample for weight in learning]
    if any(one is None or len(one) != len(rows) for one in together):
        raise _not_told("a layer mixes rows")
    for number, row in enumerate(rows):
        model.zero_grad()
        _row_losses(model, [row]).sum().backward()  # type: ignore[no-untyped-call]
        apart = _norm([one[number] - weight.grad for one, weight in zip(together, learning, strict=True)])
        if apart > CLOSE * _norm([weight.grad for weight in learning]):
            raise _not_told("in a batch it is another than alone")
    for weight in learning:
        weight.grad = weight.grad_sample = None
    model.train()


def _norm(tensors: Sequence[torch.Tensor]) -> float:
    return math.sqrt(sum(float((one**2).sum()) for one in tensors))


def _not_told(why: str) -> GuidewayError:
    return GuidewayError(
        f"the gradient of a single row cannot be had from this model: {why}",
        where="train.privacy",
        try_this="another base, or recipe: lora",
    )
