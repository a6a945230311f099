"""The processes that train one model together: who they are, what each learns from, how they add up and agree.

Every one of them runs the whole training, and asks here where they must act as one. A process that is alone is the
first of one, and nothing is sent. What is sent are numbers and bytes, never objects that run when they are read.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeVar

import msgspec
import torch
import torch.distributed as dist

from guideway.core.errors import GuidewayError

TIMEOUT = timedelta(minutes=30)
"""The longest that one waits for another: longer than a validation, which the first does while the others wait."""
BUCKET = 1 << 24
"""Gradients that are sent at once: enough to fill a network, few enough to be copied."""
GONE = "another process of this training is gone"

T = TypeVar("T")


def size() -> int:
    """How many processes train this model."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is: 0 is the first."""
    return dist.get_rank() if size() > 1 else 0


def first() -> bool:
    """Is this the one that validates, keeps checkpoints, and leaves the model?"""
    return rank() == 0


def share(batch: Any) -> Any:
    """The rows of *batch* that this process learns from. They may be none."""
    return batch if size() == 1 else batch[rank() :: size()]


def added(weights: Sequence[torch.Tensor], total: float, parts: int) -> tuple[float, int]:
    """Make the gradient of each of *weights* the sum of those of all processes; the sums of *total* and *parts*.

    A weight that has a gradient nowhere keeps none: the optimiser leaves it alone.
    """
    if size() == 1:
        return total, parts
    counts = torch.tensor([total, parts, *(weight.grad is not None for weight in weights)], dtype=torch.float64)
    _reduce(counts)
    learning = [weight for weight, count in zip(weights, counts[2:].tolist(), strict=True) if count]
    for weight in learning:
        if weight.grad is None:
            weight.grad = torch.zeros_like(weight)
    for bucket in _buckets([weight.grad for weight in learning if weight.grad is not None]):
        flat = torch.cat([one.reshape(-1) for one in bucket])
        _reduce(flat)
        for one, part in zip(bucket, torch.split(flat, [one.numel() for one in bucket]), strict=True):
            one.copy_(part.view_as(one))
    return float(counts[0]), int(counts[1])


def told(found: T | None, kind: type[T]) -> T | None:
    """What the first process *found*, in all of them."""
    if size() == 1:
        return found
    data = msgspec.msgpack.encode(found) if first() else b""
    length = torch.tensor([len(data)])
    _broadcast(length)
    text = torch.frombuffer(bytearray(data or bytes(int(length))), dtype=torch.uint8)
    _broadcast(text)
    return msgspec.msgpack.decode(text.numpy().tobytes(), type=kind | None)


def same(tensors: Mapping[str, torch.Tensor]) -> None:
    """Make *tensors* what they are in the first process, in place. All have them, in the same shapes and order."""
    if size() > 1:
        with torch.no_grad():
            for one in tensors.values():
                whole = one.detach().contiguous()
                _broadcast(whole)
                one.copy_(whole)


def sent(tensors: Mapping[str, torch.Tensor] | None) -> dict[str, torch.Tensor]:
    """The *tensors* of the first process, in all of them; the others need not know which there are."""
    if size() == 1:
        return dict(tensors or {})
    mine = {name: one.contiguous() for name, one in (tensors or {}).items()} if first() else {}
    shapes = told(
        {name: (str(one.dtype), list(one.shape)) for name, one in mine.items()}, dict[str, tuple[str, list[int]]]
    )
    for name, (dtype, shape) in (shapes or {}).items():
        one = mine.setdefault(name, torch.empty(shape, dtype=getattr(torch, dtype.removeprefix("torch."))))
        _broadcast(one.view(-1))
    return mine


def gathered(one: torch.Tensor) -> list[torch.Tensor]:
    """*one* of every process, in the order of their ranks; it has the same shape everywhere."""
    if size() == 1:
        return [one]
    found = [torch.empty_like(one) for _ in range(size())]
    with _others():
        dist.all_gather(found, one)
    return found


def _reduce(tensor: torch.Tensor) -> None:
    with _others():
        dist.all_reduce(tensor)


def _broadcast(tensor: torch.Tensor) -> None:
    with _others():
        dist.broadcast(tensor, src=0)


@contextlib.contextmanager
def _others() -> Iterator[None]:
    """What the library raises when another process has ended or does not answer, as one line."""
    try:
        yield
    except RuntimeError as error:
        raise GuidewayError(GONE, try_this="the log has the whole story") from error


def _buckets(tensors: Sequence[torch.Tensor]) -> Iterator[list[torch.Tensor]]:
    """*tensors* in their order, in groups of one device and type, of at most ``BUCKET`` numbers or one tensor."""
    group: list[torch.Tensor] = []
    count = 0
    for one in tensors:
        alike = not group or (one.device, one.dtype) == (group[0].device, group[0].dtype)
        if group and (not alike or count + one.numel() > BUCKET):
            yield group
            group, count = [], 0
        group.append(one)
        count += one.numel()
    if group:
        yield group
