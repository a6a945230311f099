"""Training of a classifier: a linear probe, then a number of steps over encoder and head."""

from __future__ import annotations

import functools
import json
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import torch

from guideway.core.protocols import Job
from guideway.core.spec import Train
from guideway.pipeline.stages.choose import settings as chosen
from guideway.pipeline.stages.classify.model import EncoderClassifier, load_encoder, tensors
from guideway.pipeline.stages.classify.probe import fit_head
from guideway.pipeline.stages.classify.rows import Case, cases_of, manifest_of
from guideway.pipeline.stages.threads import threads_for
from guideway.pipeline.stages.train import ranks
from guideway.pipeline.stages.train.batches import batches
from guideway.pipeline.stages.train.checkpoints import Checkpoints
from guideway.pipeline.stages.train.descent import Descent, autocast, device
from guideway.pipeline.stages.train.loop import Learned, Loop, Validation
from guideway.pipeline.stages.train.rows import Rows
from guideway.replica.classifier import ClassifierSettings, TextReader, write_settings
from guideway.sealing.reshard import reshard_in_place

RESERVED = 2
"""Positions that some encoders keep for themselves."""
OF_THE_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
Progress = Callable[[float, float, str], None]


def learn(job: Job, base: Path | None) -> None:
    """Train the encoder in *base* as the parameters say; encoder, head, tokenizer and ``classifier.json`` are left.

    Raises:
        GuidewayError: the base is no encoder, or the loss stopped being a number.
    """
    assert base, "the spec is checked: a classifier has a base"
    fitted = fit(job, chosen(job, job.params), base)
    if ranks.first():
        _finish(job, base, fitted.model, fitted.settings, fitted.learned)


class Fitted(msgspec.Struct, frozen=True):
    """A classifier that was trained, what it was watched by, and how it went."""

    model: EncoderClassifier
    settings: ClassifierSettings
    held: list[Case]
    learned: Learned


def fit(job: Job, train: Train, base: Path, heard: Callable[[Validation], None] = lambda found: None) -> Fitted:
    """Train the encoder in *base* as *train* says; *heard* is told what every validation found.

    Raises:
        GuidewayError: the base is no encoder, or the loss stopped being a number.
    """
    data = job.inputs["data"]
    job.progress(0, train.steps, "loading the base")
    settings = settings_of(base, manifest_of(data)["classes"], train)
    reader, rows = TextReader(base, settings.max_tokens), Rows(data, train)
    known = [case for case in cases_of(rows.learned(), reader, settings.labels) if case.target >= 0]
    held = [case for case in cases_of(rows.held, reader, settings.labels) if case.target >= 0]
    started = start(base, known, len(settings.labels), train, job.progress)
    training = loop(started, known, held, train, checkpoints=Checkpoints(job.resume), progress=job.progress)
    if held:
        training.validate = functools.partial(_overheard, started.model, held, train, heard)
    return Fitted(started.model, settings, held, training.run())


def settings_of(base: Path, classes: Sequence[str], train: Train) -> ClassifierSettings:
    """What a classifier of *classes* over the encoder in *base* is; its threshold is found later."""
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    positions = int(config.get("max_position_embeddings", train.architecture.context + RESERVED))
    return ClassifierSettings(tuple(classes), min(train.architecture.context, positions - RESERVED))


class Started(msgspec.Struct, frozen=True):
    """A classifier with a head that fits its encoder, before training; and the weights of its classes."""

    model: EncoderClassifier
    weights: torch.Tensor


def start(base: Path, cases: Sequence[Case], classes: int, train: Train, progress: Progress) -> Started:
    """A classifier of *classes* from the encoder in *base*. All draws follow from the seed.

    Raises:
        GuidewayError: the base is no encoder.
    """
    torch.manual_seed(train.seed)
    model = EncoderClassifier(load_encoder(base), classes)
    torch.set_num_threads(threads_for(sum(weight.numel() for weight in model.parameters())))
    weights = _class_weights(cases, classes) if train.class_weights else torch.ones(classes)

    def say(done: float) -> None:
        progress(0, train.steps, f"a head for the encoder: {done:.0%}")

    fit_head(model, cases, weights, train.seed, say)
    return Started(model.to(device()), weights.to(device()))


def loop(
    started: Started,
    cases: Sequence[Case],
    held: Sequence[Case],
    train: Train,
    *,
    checkpoints: Checkpoints | None,
    progress: Progress,
) -> Loop:
    """The training of *started* on *cases*, watched by *held* where there are any."""
    return Loop(
        Descent(started.model, functools.partial(_loss, started), train),
        lambda: batches(cases, train.batch, train.seed),
        train,
        validate=functools.partial(_validation, started.model, held, train) if held else None,
        checkpoints=checkpoints,
        progress=progress,
    )


def _class_weights(cases: Sequence[Case], classes: int) -> torch.Tensor:
    """Weights that make every class count the same; 1 in the mean over the rows."""
    counts = Counter(case.target for case in cases)
    return torch.tensor([len(cases) / (classes * max(1, counts[number])) for number in range(classes)])


def _loss(started: Started, batch: Sequence[Case]) -> tuple[torch.Tensor, int]:
    """The loss of *batch* as a sum, in nats, and how many rows it has."""
    logits = started.model(*tensors(batch, started.weights.device)).float()
    targets = torch.tensor([case.target for case in batch], device=logits.device)
    return torch.nn.functional.cross_entropy(logits, targets, started.weights, reduction="sum"), len(batch)


def _overheard(
    model: EncoderClassifier, held: Sequence[Case], train: Train, heard: Callable[[Validation], None]
) -> Validation:
    found = _validation(model, held, train)
    heard(found)
    return found


def _validation(model: EncoderClassifier, held: Sequence[Case], train: Train) -> Validation:
    found = row_losses(model, held, train)
    error = float(found.std() / len(found) ** 0.5) if len(found) > 1 else None
    return Validation(float(found.mean()), error, len(found))


def row_losses(model: EncoderClassifier, held: Sequence[Case], train: Train) -> torch.Tensor:
    """The loss of each of *held*, in nats."""
    losses: list[torch.Tensor] = []
    for at in range(0, len(held), train.batch):
        batch = held[at : at + train.batch]
        with autocast(train.precision):
            logits = model(*tensors(batch, model.head.weight.device)).float()
        targets = torch.tensor([case.target for case in batch], device=logits.device)
        losses.append(torch.nn.functional.cross_entropy(logits, targets, reduction="none"))
    return torch.cat(losses)


def lay_tokenizer(base: Path, out: Path, max_tokens: int) -> None:
    """The files of the tokenizer; it says how long a text may be here, and not 10**30, as some bases do."""
    for name in OF_THE_TOKENIZER:
        if (base / name).is_file():
            shutil.copyfile(base / name, out / name)
    path = out / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8")) | {"model_max_length": max_tokens}
    path.write_text(json.dumps(config, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def _finish(job: Job, base: Path, model: EncoderClassifier, settings: ClassifierSettings, learned: Learned) -> None:
    """Save all that belongs to the model, and leave the evidence about it."""
    model.eval().cpu().save(job.out)
    lay_tokenizer(base, job.out, settings.max_tokens)
    write_settings(job.out, settings)
    reshard_in_place(job.out)
    curve = msgspec.json.format(msgspec.json.encode(learned.curve), indent=1)
    (job.out / "curve.json").write_bytes(curve + b"\n")
    broken = sum(int((~torch.isfinite(weight)).sum()) for weight in model.state_dict().values())
    size = sum(weight.numel() for weight in model.parameters())
    loss = next(point.loss for point in reversed(learned.curve) if point.step <= learned.kept)
    job.measure("non_finite_weights", broken, "weights", about="out", n=size)
    job.measure("train_loss", loss, "nats/row", about="out", n=learned.kept)
    job.fact(f"{size / 1e6:.2f}M parameters, loss {loss:.3f} after {learned.step:,} steps")
    if learned.resumed:
        job.fact(f"went on from the checkpoint at step {learned.resumed:,}")
    if learned.kept < learned.step:
        job.fact(f"the weights of step {learned.kept:,} were kept")
