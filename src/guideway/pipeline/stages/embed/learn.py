"""Training of embeddings: texts that belong together are told from all others in their batch."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from pathlib import Path

import msgspec
import torch

from guideway.core.errors import GuidewayError
from guideway.core.protocols import Job
from guideway.core.spec import Train
from guideway.pipeline.stages.choose import settings as chosen
from guideway.pipeline.stages.classify.learn import RESERVED, lay_tokenizer
from guideway.pipeline.stages.classify.model import load_encoder
from guideway.pipeline.stages.embed.model import SentenceEncoder, tensors
from guideway.pipeline.stages.embed.rows import Pair, pairs_of
from guideway.pipeline.stages.threads import threads_for
from guideway.pipeline.stages.train.batches import shuffled
from guideway.pipeline.stages.train.checkpoints import Checkpoints
from guideway.pipeline.stages.train.descent import Descent, autocast, device
from guideway.pipeline.stages.train.loop import Learned, Loop, Validation
from guideway.pipeline.stages.train.rows import Rows
from guideway.replica.classifier import TextReader
from guideway.replica.embedder import EmbedderSettings, write_settings
from guideway.sealing.reshard import reshard_in_place


def learn(job: Job, base: Path | None) -> None:
    """Train the encoder in *base* as the parameters say; encoder, tokenizer and ``embedder.json`` are left.

    Raises:
        GuidewayError: the base is no encoder, or the loss stopped being a number.
    """
    assert base, "the spec is checked: embeddings have a base"
    train = chosen(job, job.params)
    job.progress(0, max(1, train.steps), "loading the base")
    torch.manual_seed(train.seed)
    model = SentenceEncoder(load_encoder(base), train.contrast.pooling)
    torch.set_num_threads(threads_for(sum(weight.numel() for weight in model.parameters())))
    settings = settings_of(base, model.width, train)
    learned = _taught(job, model.to(device()), TextReader(base, settings.max_tokens), train) if train.steps else None
    _finish(job, base, model, settings, learned)


def settings_of(base: Path, width: int, train: Train) -> EmbedderSettings:
    """What an encoder in *base* gives, and how long a text may be."""
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    positions = int(config.get("max_position_embeddings", train.architecture.context + RESERVED))
    return EmbedderSettings(width, min(train.architecture.context, positions - RESERVED), train.contrast.pooling)


def _taught(job: Job, model: SentenceEncoder, reader: TextReader, train: Train) -> Learned:
    rows = Rows(job.inputs["data"], train)
    known, held = pairs_of(rows.learned(), reader), pairs_of(rows.held, reader)
    if len(known) < 2:
        raise GuidewayError("fewer than two pairs are left to train on", where="train.validation", try_this="more rows")
    training = Loop(
        Descent(model, functools.partial(_summed, model, train.contrast.temperature), train),
        lambda: shuffled(known, train.batch, train.seed),
        train,
        validate=functools.partial(_validation, model, held, train) if len(held) > 1 else None,
        checkpoints=Checkpoints(job.resume),
        progress=job.progress,
    )
    return training.run()


def _summed(model: SentenceEncoder, temperature: float, batch: Sequence[Pair]) -> tuple[torch.Tensor, int]:
    """The loss of *batch* as a sum, in nats, and how many pairs it has."""
    return contrast(model, batch, temperature).sum(), len(batch)


def contrast(model: SentenceEncoder, batch: Sequence[Pair], temperature: float) -> torch.Tensor:
    """The loss of each pair in nats: how badly its passage is told from the others of *batch*, and its question too.

    A passage that is right for another question of the batch as well is left out where it would be a wrong one.
    """
    where = next(model.parameters()).device
    questions = model(*tensors([one.question for one in batch], where)).float()
    passages = model(*tensors([one.ids for one in batch], where)).float()
    scores = questions @ passages.T / temperature
    scores = scores.masked_fill(alike(batch).to(where), -torch.inf)
    own = torch.arange(len(batch), device=where)
    there, back = (torch.nn.functional.cross_entropy(one, own, reduction="none") for one in (scores, scores.T))
    return (there + back) / 2


def alike(batch: Sequence[Pair]) -> torch.Tensor:
    """Which pairs [rows, rows] are no negatives of each other; a pair is not its own."""
    found = [[one.about == other.about or one.passage == other.passage for other in batch] for one in batch]
    return torch.tensor(found) & ~torch.eye(len(batch), dtype=torch.bool)


def _validation(model: SentenceEncoder, held: Sequence[Pair], train: Train) -> Validation:
    """The loss on *held*, in batches as training has them: with fewer negatives it would be smaller."""
    losses = []
    for at in range(0, len(held), train.batch):
        with autocast(train.precision):
            losses.append(contrast(model, held[at : at + train.batch], train.contrast.temperature))
    found = torch.cat(losses)
    return Validation(float(found.mean()), float(found.std() / len(found) ** 0.5), len(found))


def _finish(job: Job, base: Path, model: SentenceEncoder, settings: EmbedderSettings, learned: Learned | None) -> None:
    """Save all that belongs to the model, and leave the evidence about it."""
    model.eval().cpu().encoder.save_pretrained(job.out)
    lay_tokenizer(base, job.out, settings.max_tokens)
    write_settings(job.out, settings)
    reshard_in_place(job.out)
    curve = msgspec.json.format(msgspec.json.encode(learned.curve if learned else ()), indent=1)
    (job.out / "curve.json").write_bytes(curve + b"\n")
    broken = sum(int((~torch.isfinite(weight)).sum()) for weight in model.state_dict().values())
    size = sum(weight.numel() for weight in model.parameters())
    job.measure("non_finite_weights", broken, "weights", about="out", n=size)
    if not learned:
        job.fact(f"{size / 1e6:.2f}M parameters, as the base has them")
        return
    loss = next(point.loss for point in reversed(learned.curve) if point.step <= learned.kept)
    job.measure("train_loss", loss, "nats/row", about="out", n=learned.kept)
    job.fact(f"{size / 1e6:.2f}M parameters, loss {loss:.3f} after {learned.step:,} steps")
    if learned.resumed:
        job.fact(f"went on from the checkpoint at step {learned.resumed:,}")
    if learned.kept < learned.step:
        job.fact(f"the weights of step {learned.kept:,} were kept")
