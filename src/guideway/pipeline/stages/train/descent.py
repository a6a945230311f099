"""One step of gradient descent: AdamW, gradients of several batches summed, clipped, in the precision asked for."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from guideway.core.spec import Train
from guideway.pipeline.stages.train import ranks

LossOf = Callable[[Any], tuple[torch.Tensor, int]]
"""The loss of a batch as a sum (a scalar with its gradient), and of how many equal parts it is the sum."""
FLOOR = 0.02
"""The learning rate at the end, as a share of its peak."""
CLIP = 1.0
"""The largest norm of the whole gradient."""


def device() -> torch.device:
    """Where training runs: the accelerator if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def place_for(weights: int) -> torch.device:
    """Where a model of so many *weights* in float32 is asked: the accelerator, if half of what is free holds them."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info()
    return device() if 2 * 4 * weights < free else torch.device("cpu")


def schedule(step: int, steps: int, warmup: int) -> float:
    """The share of the peak learning rate at *step*: up in a line, then down along a cosine to ``FLOOR``."""
    warmup = min(warmup, steps // 2)
    if step <= warmup:
        return step / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return FLOOR + (1 - FLOOR) * (1 + math.cos(math.pi * done)) / 2


class Descent:
    """Moves the weights of *model* that may learn down the gradient of *loss*."""

    def __init__(self, model: torch.nn.Module, loss: LossOf, train: Train) -> None:
        self.model, self.loss, self.train = model, loss, train
        self.optimizer: torch.optim.Optimizer = adamw(model, train)

    def step(self, batches: Sequence[Any], rate: float) -> float:
        """One step at the learning rate *rate*; the mean loss over all parts of *batches*, before it.

        Where several processes train, each finds the gradient of its rows; divided is their sum, by all parts: the
        step is that of one process.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        total, parts = 0.0, 0
        for batch in filter(len, map(ranks.share, batches)):
            with autocast(self.train.precision):
                loss, count = self.loss(batch)
            loss.backward()  # type: ignore[no-untyped-call]
            total, parts = total + float(loss.detach()), parts + count
        total, parts = ranks.added([one for one in self.model.parameters() if one.requires_grad], total, parts)
        learning = [weight for weight in self.model.parameters() if weight.grad is not None]
        for weight in learning:
            weight.grad.div_(parts)  # type: ignore[union-attr]
        torch.nn.utils.clip_grad_norm_(learning, CLIP)
        self.optimizer.step()
        return total / parts

    def tensors(self) -> dict[str, torch.Tensor]:
        """The state of the optimiser, by name."""
        state = self.optimizer.state_dict()["state"]
        return {f"{index}.{name}": value for index, one in state.items() for name, value in one.items()}

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Go on from what ``tensors`` gave."""
        whole = self.optimizer.state_dict()
        whole["state"] = {}
        for key, value in tensors.items():
            index, _, name = key.partition(".")
            whole["state"].setdefault(int(index), {})[name] = value
        self.optimizer.load_state_dict(whole)


def adamw(model: torch.nn.Module, train: Train) -> torch.optim.AdamW:
    """AdamW over the weights of *model* that may learn; norms and biases do not decay."""
    learning = [weight for weight in model.parameters() if weight.requires_grad]
    matrices = [weight for weight in learning if weight.ndim >= 2]
    others = [weight for weight in learning if weight.ndim < 2]
    groups = [{"params": matrices, "weight_decay": train.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=train.learning_rate, betas=(0.9, 0.95), fused=True)


def autocast(precision: str) -> contextlib.AbstractContextManager[Any]:
    """``bf16``: matrices are multiplied in bfloat16, while the weights stay in float32."""
    if precision == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(device().type, dtype=torch.bfloat16)
