"""Explain one answer of a sealed release: every byte verified, as before it is served."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import msgspec
import numpy as np

from guideway.core.artifact import Digest, digest_bytes, short
from guideway.core.errors import SpecError
from guideway.core.release import ServeSettings
from guideway.pipeline.stages.explain.answers import Answers, Settings
from guideway.pipeline.stages.explain.attribution import Attribution, Floats, Masks, Value, tokens_of
from guideway.pipeline.stages.explain.classes import Classes
from guideway.pipeline.stages.explain.methods import evaluations
from guideway.pipeline.stages.explain.subject import Explained, explain
from guideway.sealing.pack import attachments, files_of, read_manifest
from guideway.sealing.verify import verify
from guideway.signing import dsse
from guideway.signing.keys import Verifier
from guideway.store import steps
from guideway.store.blobs import Blobs
from guideway.store.database import Database

Say = Callable[[int, int], None]
AT_ONCE = 16
"""Variants between two words of progress."""


@contextlib.contextmanager
def laid_out(
    blobs: Blobs, release: Digest, trusted: Mapping[str, Verifier], room: Path, progress: Say | None = None
) -> Iterator[Path]:
    """The files of *release* in a folder of their own below *room*, once every byte has been verified.

    Raises:
        Corrupt: a blob is missing or changed, or nobody trusted signed the release.
    """
    verify(blobs, release, trusted, progress=progress)
    room.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="explain-", dir=room))
    try:
        yield blobs.lay_out(files_of(read_manifest(blobs, release)), folder / "release")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class ReleaseExplainer:
    """The model of the release in *folder*, which explains what it says."""

    def __init__(self, folder: Path) -> None:
        self._model = _opened(folder)

    def explain(
        self, text: str, *, answer: str | None = None, method: str = "auto", seed: int = 7, progress: Say | None = None
    ) -> Attribution:
        """Which words of *text* made *answer* (or the class of this name), by default what the model says.

        Raises:
            SpecError: there is no word in *text*, it is too long, or the method cannot be used on this model.
        """
        if not tokens_of(text):
            raise SpecError("there is no word in the text", try_this="give a text of at least one word")
        case = self._model.ask(text, answer)
        method = self._chosen(method)
        if progress:
            total = evaluations(method, len(case.tokens))
            case = case._replace(value=told(case.value, progress, total))
        return explain(case, method, self._model.unit, seed)

    def variants(self, text: str, method: str = "auto") -> int:
        """How many variants of *text* will be scored: what an explanation costs."""
        return evaluations(self._chosen(method), len(tokens_of(text)))

    def _chosen(self, method: str) -> str:
        return self._model.auto if method == "auto" else method


def _opened(folder: Path) -> Explained:
    settings = msgspec.json.decode((folder / "serve.json").read_bytes(), type=ServeSettings)
    model = folder / "model"
    if settings.task == "embed":
        raise SpecError(
            "embeddings have no answer whose words could be weighed", try_this="report.html of stage evaluate has a map"
        )
    if settings.task == "classify":
        from guideway.pipeline.stages.explain.classifier import ShippedClassifier

        return Classes(ShippedClassifier(model))
    said = Settings(
        task=settings.task,
        system=settings.system,
        template=settings.template,
        max_tokens=settings.decoding.max_tokens,
        stop=settings.decoding.stop,
    )
    return Answers(model, said, trained=model if any(model.glob("*.safetensors")) else None)


def report_of(database: Database, blobs: Blobs, release: Digest) -> bytes:
    """The report that the build of *release* left: the one whose envelope is attached to it.

    Raises:
        SpecError: the build explained nothing, or was made elsewhere.
    """
    attached = {digest_bytes(text) for text in attachments(blobs, release, dsse.MEDIA_TYPE)}
    files = (
        file
        for result in reversed(steps.all_of(database, "explain"))
        if result.envelope in attached
        for file in result.artifact.files
        if file.path == "report.html"
    )
    found = next(files, None)
    if found is None:
        raise SpecError(
            "no explanations of this release are kept here",
            where=short(release),
            try_this="write explain: {} into the spec and build again, or give a text",
        )
    return blobs.read(found.digest)


def told(value: Value, progress: Say, total: int) -> Value:
    """The same scores, a few variants at a time, with a word of progress after each."""
    done = 0

    def asked(masks: Masks) -> Floats:
        nonlocal done
        parts = []
        for at in range(0, len(masks), AT_ONCE):
            parts.append(value(masks[at : at + AT_ONCE]))
            done += len(parts[-1])
            progress(min(done, total), total)
        return np.concatenate(parts) if parts else value(masks)

    return asked
