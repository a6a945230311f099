"""One of the processes that train a model together: it joins the others, and runs the whole training with them."""

from __future__ import annotations

import os
from pathlib import Path

from guideway.core.errors import GuidewayError, Unavailable
from guideway.core.protocols import Job
from guideway.pipeline.stages.threads import cores_of

BASE = "base"
"""The input that is the model to start from; it is judged already."""
RANK, SIZE, MEETING = "GUIDEWAY_RANK", "GUIDEWAY_RANKS", "GUIDEWAY_MEETING"
"""What a process is told by its environment: which it is, of how many, and the file by which they find each other."""


def run(job: Job) -> None:
    """Join the others of this machine, train, and leave.

    Raises:
        GuidewayError: what training raises, or another of them is gone.
        Unavailable: there are fewer GPUs than processes.
    """
    import torch.distributed as dist

    from guideway.pipeline.stages.train.ranks import GONE, TIMEOUT

    rank, size = int(os.environ[RANK]), int(os.environ[SIZE])
    os.sched_setaffinity(0, cores_of(rank, size))
    backend = take_gpu(rank, size)
    try:
        meeting = f"file://{os.environ[MEETING]}"
        dist.init_process_group(backend, init_method=meeting, rank=rank, world_size=size, timeout=TIMEOUT)
    except RuntimeError as error:
        raise GuidewayError(GONE, try_this="the log has the whole story") from error
    learn(job)
    dist.destroy_process_group()


def take_gpu(place: int, places: int) -> str:
    """Take the GPU of one of several *places* on this machine; the name of what carries tensors between processes.

    Raises:
        Unavailable: there are fewer GPUs than processes.
    """
    import torch

    count = torch.cuda.device_count()
    if not count:
        return "gloo"
    if count < places:
        raise Unavailable(
            f"{places} processes need as many GPUs, and there are {count}",
            where="train.processes",
            try_this=f"processes: {count}, or CUDA_VISIBLE_DEVICES= to train without",
        )
    torch.cuda.set_device(place)
    return "cpu:gloo,cuda:nccl"


def learn(job: Job) -> None:
    """Train as the parameters say, from what lies in the input ``base`` if it is there."""
    base: Path | None = job.inputs.get(BASE)
    if job.params.get("task") == "classify":
        from guideway.pipeline.stages.classify.learn import learn
    else:
        from guideway.pipeline.stages.train.learn import learn

    learn(job, base)
