"""What ``compress`` makes for an engine, and how it is read again. One file a format, all of them in one dict."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from guideway.core.errors import SpecError, did_you_mean
from guideway.core.spec import Spec
from guideway.engines import engine
from guideway.pipeline.shapes import NEW
from guideway.pipeline.stages.formats import compressed_tensors, gguf, onnx, openvino

if TYPE_CHECKING:
    from guideway.replica.backend import Logits

AS_TRAINED = "safetensors"
"""The format of engines that serve what was trained. They have an ONNX export beside it, to be compared with."""


class Scorer(Protocol):
    """The export as what serves it computes it; ``context`` is in tokens."""

    context: int

    def logits(self, ids: Sequence[int]) -> Logits:
        """The scores [len(ids), vocabulary] after each of *ids*."""

    def generate_all(
        self, prompts: Sequence[Sequence[int]], max_tokens: int, stop_ids: Collection[int]
    ) -> list[list[int]]:
        """The greedy answers to *prompts*, without the stop tokens that end them."""


class Format(Protocol):
    """One format of models. A module meets this as it stands; its heavy libraries are imported inside functions.

    ``mark`` is a file that every export of this format has and no other one. ``precisions`` are those that it can have.
    ``libraries`` are distributions that make or read it beside those that every build has, and ``environment`` is the
    requirements file of stages that do so, None: they run in our own.

    ``backend(folder, slots, threads)`` may be there too: formats that our own replica serves can be explained; and
    ``programs(precisions)``, which raises Unavailable where one that makes or reads these is not installed. So may
    ``calibrated(source, out, precision, data)``, which is called instead of ``export`` with what stage data wrote.
    ``plain`` names precisions that do without the ``environment``, and ``refuse_sizes(precision, sizes)`` raises for
    matrices that cannot have that precision.
    """

    name: str
    mark: str
    precisions: tuple[str, ...]
    libraries: tuple[str, ...]
    environment: Path | None

    def export(self, source: Path, out: Path, precision: str) -> None:
        """Export the Hugging Face folder *source* to *out*, with its tokenizer; the same bytes every time.

        Raises:
            GuidewayError: this architecture or precision cannot be exported.
        """

    def scorer(self, folder: Path, threads: int) -> Scorer:
        """Read the export in *folder*."""


FORMATS: dict[str, Format] = {
    module.name: cast(Format, module) for module in (onnx, openvino, gguf, compressed_tensors)
}


def format_of(spec: Spec) -> Format:
    """The format that ``compress`` makes for the engine of *spec*.

    Raises:
        SpecError: nothing here makes what this engine serves.
    """
    asked = engine(spec.serve.engine).format
    name = onnx.name if asked == AS_TRAINED else asked
    if name not in FORMATS:
        raise SpecError(
            f"the engine {spec.serve.engine} serves '{asked}', which no stage makes",
            try_this=did_you_mean(asked, (*FORMATS, AS_TRAINED)),
        )
    return FORMATS[name]


def check_programs(spec: Spec) -> None:
    """Look for the programs that the engine's format needs.

    Raises:
        Unavailable: one is not installed.
    """
    programs: Callable[[Sequence[str]], None] = getattr(format_of(spec), "programs", lambda _asked: None)
    programs(_precisions(spec))


def check_explained(spec: Spec) -> None:
    """Refuse explanations of an export that our own replica cannot ask.

    Raises:
        SpecError: names the engine.
    """
    if spec.explain is not None and not hasattr(format_of(spec), "backend"):
        raise SpecError(
            f"what the engine {spec.serve.engine} serves cannot be explained",
            try_this="remove explain, or write serve.engine: onnx",
        )


def environment_for(spec: Spec) -> Path | None:
    """The requirements file of stages that make or read the export that *spec* asks for; None: they run in ours."""
    made = format_of(spec)
    return None if spec.compress.precision in getattr(made, "plain", ()) else made.environment


def export(made: Format, source: Path, out: Path, precision: str, data: Path) -> None:
    """Export the Hugging Face folder *source* to *out*; *data*, of stage data, is for formats that calibrate.

    Raises:
        GuidewayError: this architecture or precision cannot be exported.
    """
    calibrated: Callable[[Path, Path, str, Path], None] | None = getattr(made, "calibrated", None)
    if calibrated:
        calibrated(source, out, precision, data)
    else:
        made.export(source, out, precision)


def check_precision(spec: Spec) -> None:
    """Refuse a precision that the engine's format cannot have.

    Raises:
        SpecError: names the precisions that it can have.
    """
    made = format_of(spec)
    strange = [one for one in _precisions(spec) if one not in made.precisions]
    if strange:
        raise SpecError(
            f"the engine {spec.serve.engine} serves no {strange[0]}", try_this=f"one of {', '.join(made.precisions)}"
        )


def _precisions(spec: Spec) -> tuple[str, ...]:
    """What may be exported."""
    return spec.compress.candidates if spec.compress.precision == "auto" else (spec.compress.precision,)


def check_sizes(spec: Spec, root: Path) -> None:
    """Refuse a model whose sizes the precision cannot have, where spec or base tells them before anything runs.

    Raises:
        SpecError: names the size.
    """
    refuse: Callable[[str, Sequence[int]], None] | None = getattr(format_of(spec), "refuse_sizes", None)
    if refuse is None:
        return
    asked, base = spec.train.architecture, root / (spec.train.base or "")
    if spec.train.recipe in NEW or spec.train.base is None:
        refuse(spec.compress.precision, (asked.hidden, asked.feed_forward))
    elif (base / "config.json").is_file():
        refuse(spec.compress.precision, compressed_tensors.sizes_of(base))


def format_in(folder: Path) -> Format | None:
    """The format of the export in *folder*; None: there is a model as it was trained."""
    return next((one for one in FORMATS.values() if (folder / one.mark).is_file()), None)


def open_scorer(folder: Path, threads: int) -> Scorer:
    """Read the export in *folder*, whatever its format.

    Raises:
        SpecError: there is none.
    """
    found = format_in(folder)
    if found is None:
        raise SpecError("there is no export here", where=str(folder), try_this="export it with `compress`")
    return found.scorer(folder, threads)


def open_backend(folder: Path, slots: int, threads: int) -> Any:
    """What our own replica serves the export in *folder* with.

    Raises:
        SpecError: its format is served by another server alone.
    """
    found = format_in(folder)
    opened = getattr(found, "backend", None)
    if found is None or opened is None:
        said = found.name if found else "no export"
        raise SpecError(f"this is {said}, which our own server does not read", where=str(folder))
    return opened(folder, slots, threads)
