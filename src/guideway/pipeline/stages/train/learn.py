"""The training itself: a fixed number of steps of AdamW, the loss on answers (or on all of a text)."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import torch

from guideway.core.errors import GuidewayError
from guideway.core.protocols import Job
from guideway.core.spec import Train
from guideway.pipeline.stages.examples import Example, Voice, rows_of, texts_of
from guideway.pipeline.stages.threads import threads_for
from guideway.pipeline.stages.train.batches import batches, packed
from guideway.pipeline.stages.train.start import load_base, make_model, make_tokenizer
from guideway.sealing.reshard import reshard_in_place

IGNORED = -100
"""The target that the loss leaves out."""
POINTS = 100
"""Points in ``curve.json``."""
FLOOR = 0.02
"""The learning rate at the end, as a share of its peak."""
SELECTIVE = frozenset({"LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM"})
"""Models whose logits are just ``lm_head(hidden)``: there, logits are computed only where a token is predicted."""


class Point(NamedTuple):
    """The mean loss over the steps up to ``step``, in nats per predicted token, and the learning rate there."""

    step: int
    loss: float
    rate: float


def learn(job: Job) -> None:
    """Train as the parameters say, and write the model to ``job.out``.

    Raises:
        GuidewayError: no row fits the context, or the loss stopped being a number.
    """
    train = msgspec.convert(dict(job.params), Train)
    model, tokenizer = _start(job, train)
    torch.set_num_threads(threads_for(sum(weight.numel() for weight in model.parameters())))
    tokenizer.save_pretrained(job.out)
    voice = Voice(job.out)
    context = min(train.architecture.context, int(getattr(model.config, "max_position_embeddings", 1 << 30)))
    examples = _examples(job, voice, context)
    curve = _optimise(job, model, examples, train)
    _finish(job, model, curve)


def _start(job: Job, train: Train) -> tuple[Any, Any]:
    """The model to train, and its tokenizer."""
    torch.manual_seed(train.seed)
    if train.recipe == "full":
        job.progress(0, train.steps, "loading the base")
        return load_base(job.root / str(train.base))
    job.progress(0, train.steps, "making the tokenizer")
    shape = train.architecture
    tokenizer = make_tokenizer(texts_of(rows_of(job.inputs["data"] / "train.jsonl")), shape.vocabulary, shape.context)
    return make_model(shape, len(tokenizer), tokenizer.eos_token_id, train.seed), tokenizer


def _examples(job: Job, voice: Voice, context: int) -> list[Example]:
    """What is learned: every answer that fits, or blocks of text."""
    rows = rows_of(job.inputs["data"] / "train.jsonl")
    chat, texts, long = [], [], 0
    for row in rows:
        if "text" in row:
            texts.append(voice.example(row))
            continue
        _need_template(voice)
        for example in voice.every_answer(row):
            fits = len(example.ids) <= context
            long += not fits
            chat += [example] if fits else []
    examples = chat + packed(texts, context)
    if not examples:
        raise GuidewayError(
            f"no row fits into {context} tokens", where="train.architecture.context", try_this="a larger context"
        )
    if long:
        job.fact(f"{long:,} answers longer than {context} tokens left out")
    return examples


def _need_template(voice: Voice) -> None:
    if not voice.text.template:
        raise GuidewayError(
            "the base has no chat template",
            where="train.base",
            try_this="choose an instruct model, or task: completion",
        )


def _optimise(job: Job, model: Any, examples: Sequence[Example], train: Train) -> list[Point]:
    """Run every step; the curve of the loss."""
    model.train()
    optimizer = _optimizer(model, train)
    supply = batches(examples, train.batch, train.seed)
    every = max(1, train.steps // POINTS)
    curve: list[Point] = []
    losses: list[float] = []
    for step in range(1, train.steps + 1):
        rate = train.learning_rate * schedule(step, train.steps, train.warmup)
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = _loss(model, next(supply))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(_finite(loss.item(), step))
        if step % every == 0 or step == train.steps:
            curve.append(Point(step, sum(losses) / len(losses), rate))
            losses.clear()
            job.progress(step, train.steps, f"loss {curve[-1].loss:.3f}")
    return curve


def schedule(step: int, steps: int, warmup: int) -> float:
    """The share of the peak learning rate at *step*: up in a line, then down along a cosine to ``FLOOR``."""
    warmup = min(warmup, steps // 2)
    if step <= warmup:
        return step / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return FLOOR + (1 - FLOOR) * (1 + math.cos(math.pi * done)) / 2


def _optimizer(model: Any, train: Train) -> torch.optim.AdamW:
    """AdamW; norms and biases do not decay."""
    matrices = [weight for weight in model.parameters() if weight.ndim >= 2]
    others = [weight for weight in model.parameters() if weight.ndim < 2]
    groups = [{"params": matrices, "weight_decay": train.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=train.learning_rate, betas=(0.9, 0.95), fused=True)


def _loss(model: Any, batch: Sequence[Example]) -> torch.Tensor:
    """The mean loss over all predicted tokens of *batch*, in nats."""
    ids, targets = _tensors(batch)
    wanted = targets != IGNORED
    if type(model).__name__ in SELECTIVE:
        hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state
        logits = model.lm_head(hidden[wanted])
    else:
        logits = model(input_ids=ids, use_cache=False).logits[wanted]
    return torch.nn.functional.cross_entropy(logits.float(), targets[wanted])


def _tensors(batch: Sequence[Example]) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs and targets, padded on the right: attention is causal, so no real token ever sees the padding."""
    longest = max(len(example.ids) for example in batch) - 1
    ids = torch.zeros(len(batch), longest, dtype=torch.long)
    targets = torch.full((len(batch), longest), IGNORED, dtype=torch.long)
    for row, example in enumerate(batch):
        tokens = torch.tensor(example.ids)
        ids[row, : len(tokens) - 1] = tokens[:-1]
        targets[row, example.start - 1 : len(tokens) - 1] = tokens[example.start :]
    return ids, targets


def _finite(loss: float, step: int) -> float:
    if not math.isfinite(loss):
        raise GuidewayError(
            f"the loss became {loss} at step {step}",
            where="train.learning_rate",
            try_this="a lower learning rate, or a longer warmup",
        )
    return loss


def _finish(job: Job, model: Any, curve: Sequence[Point]) -> None:
    """Save the model, and leave the evidence about it."""
    broken = sum(int((~torch.isfinite(weight)).sum()) for weight in model.state_dict().values())
    size = sum(weight.numel() for weight in model.parameters())
    model.eval()
    model.save_pretrained(job.out)
    reshard_in_place(job.out)  # here already, so that the store keeps a tensor once, whoever passes it on
    points = [point._asdict() for point in curve]
    (job.out / "curve.json").write_text(json.dumps(points, indent=1) + "\n", encoding="utf-8")
    job.measure("non_finite_weights", broken, "weights", about="out", n=size)
    job.measure("train_loss", curve[-1].loss, "nats/token", about="out", n=curve[-1].step)
    job.fact(f"{size / 1e6:.2f}M parameters, loss {curve[-1].loss:.3f} after {curve[-1].step:,} steps")
