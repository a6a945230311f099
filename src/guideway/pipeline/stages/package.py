"""Package: lay out what will be inside the release: model, settings, manifests, and the spec that made it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from guideway.core.errors import SpecError
from guideway.core.evidence import Interval
from guideway.core.guardrails import CLASSIFIER_FILE, OUTLIERS_FILE, RULES_FILE
from guideway.core.protocols import Job
from guideway.core.release import Decoding, ServeSettings
from guideway.core.spec import Spec, build_part
from guideway.core.spec.compress import ALL_PRECISIONS
from guideway.core.spec.guardrails import Guardrails, rules_of
from guideway.engines import engine
from guideway.pipeline.stages import choose
from guideway.pipeline.stages.formats import AS_TRAINED, format_of
from guideway.pipeline.versions import ABSENT, version_of
from guideway.sealing.reshard import reshard

name = "package"
needs = ("data", "train", "compress", "guard")
uses = ("tune", "choose", "reference")
libraries: tuple[str, ...] = ()
code = ("guideway.sealing.reshard", "guideway.sealing.tensors")

REPORTS = ("report.html", "report.json", "report.md", "report.zh.html")
"""What stages leave for people beside a model; a release takes none of it."""
IMPORTED = "imported.json"
"""Where a model that nobody here trained comes from."""
TUNED = "tuned.json"
"""What training took from a search, beside the spec that it goes before."""
LOCKED = ("guideway", "numpy", "onnxruntime", "onnxruntime-genai", "openvino", "tokenizers", "torch", "transformers")
"""Distributions whose versions a release records: those that made its bytes or will read them."""


def shipped(spec: Spec) -> str:
    """The stage whose model ships: the compressed one, unless the engine serves what was trained."""
    return "train" if engine(spec.serve.engine).format == AS_TRAINED else "compress"


def params(spec: Spec) -> Mapping[str, Any]:
    """The whole build part, because it goes into the release; and the versions of what made it."""
    return {"spec": build_part(spec), "model": shipped(spec), "lock": _lock(spec)}


def sources(spec: Spec, root: Path) -> Sequence[Path]:
    """The prompt template, whose text goes into the release."""
    template = spec.serve.prompt.template
    if template is None:
        return ()
    path = root / template
    if not path.is_file():
        raise SpecError(f"there is no template '{template}'", where=str(root), try_this="mend serve.prompt.template")
    return (path,)


def run(job: Job) -> None:
    """Write the release folder to ``job.out``."""
    spec = settled(job.params["spec"], job.inputs["compress"])
    serve = spec["serve"]
    template = serve["prompt"]["template"]
    settings = ServeSettings(
        name=spec["name"],
        task=spec["task"],
        engine=serve["engine"],
        system=serve["prompt"]["system"],
        template=(job.root / template).read_text(encoding="utf-8") if template else "",
        decoding=msgspec.convert(serve["decoding"], Decoding),
    )
    reshard(job.inputs[job.params["model"]], job.out / "model")
    for name in REPORTS:
        (job.out / "model" / name).unlink(missing_ok=True)  # rows of the data, or how fast one machine was
    shutil.rmtree(job.out / "model" / "adapter", ignore_errors=True)  # merged into the model already
    _write(job.out / "serve.json", msgspec.to_builtins(settings))
    _write(job.out / "policy.json", spec["policy"])
    _guardrails(job, msgspec.convert(serve["guardrails"], Guardrails))
    _write(job.out / "spec.json", spec)
    (job.out / "environment.lock").write_text("\n".join(job.params["lock"]) + "\n", encoding="utf-8")
    (job.out / "data").mkdir()
    shutil.copyfile(job.inputs["data"] / "manifest.json", job.out / "data" / "manifest.json")
    if (record := job.inputs["train"] / IMPORTED).is_file():
        (job.out / "model" / IMPORTED).unlink(missing_ok=True)
        shutil.copyfile(record, job.out / IMPORTED)
    if "tune" in job.inputs:
        shutil.copyfile(job.inputs["choose"] / choose.FILE, job.out / TUNED)
        _searched(job)
    size = sum(path.stat().st_size for path in job.out.rglob("*") if path.is_file())
    job.fact(f"{size / 1e6:.1f} MB")


def settled(spec: Mapping[str, Any], compressed: Path) -> dict[str, Any]:
    """*spec* with what was chosen in the folder *compressed*: it alone would have made the same release."""
    asked = spec["compress"]
    if asked["precision"] != "auto":
        return dict(spec)
    chosen = json.loads((compressed / "report.json").read_text(encoding="utf-8"))["chosen"]
    plain = {"precision": chosen["precision"], "candidates": list(ALL_PRECISIONS)}
    return {**spec, "compress": asked | plain | ({} if chosen["pruned"] else {"prune": None})}


def _guardrails(job: Job, asked: Guardrails) -> None:
    """The rules, the classifier's weights where it is one of them, and which prompts are ordinary."""
    _write(job.out / RULES_FILE, msgspec.to_builtins(rules_of(asked)))
    if asked.classifier is not None:
        shutil.copyfile(job.inputs["guard"] / CLASSIFIER_FILE, job.out / CLASSIFIER_FILE)
    if asked.outlier is not None and asked.outlier.by == "words":
        shutil.copyfile(job.inputs["reference"] / OUTLIERS_FILE, job.out / OUTLIERS_FILE)


def _searched(job: Job) -> None:
    """Say of the trained model which search its parameters come from: it may be kept from before this search."""
    best = json.loads((job.inputs["tune"] / "best.json").read_bytes())
    count, gain = best["trials"]["all"], best["gain"]
    job.measure("tuning_trials", count, "trials", about="train", n=count, source="tune")
    if folds := best["folds"]:
        n, interval = len(folds["folds"]), msgspec.convert(folds["interval"], Interval)
        job.measure("tuning_folds", n, "folds", about="train", source="tune")
        job.measure("tuning_loss", folds["loss"], best["unit"], about="train", n=n, interval=interval, source="tune")
    if gain:
        interval = msgspec.convert(gain["interval"], Interval)
        job.measure(
            "tuning_gain", gain["value"], best["unit"], about="train", n=gain["n"], interval=interval, source="tune"
        )


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def _lock(spec: Spec) -> list[str]:
    names = ("python", *LOCKED, *format_of(spec).libraries)
    return [f"{name}=={version_of(name)}" for name in names if version_of(name) != ABSENT]
