"""Choose: what training takes from a search. Apart from it, so that a search that ends the same trains nothing anew."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from guideway.core.protocols import Job
from guideway.core.spec import Spec, Train
from guideway.core.spec.tune import applied

name = "choose"
needs = ("tune",)
libraries: tuple[str, ...] = ()
FILE = "parameters.json"


def wanted(spec: Spec) -> bool:
    """Only a spec with the key ``tune`` has this stage."""
    return spec.tune is not None


def params(_spec: Spec) -> Mapping[str, Any]:
    """None: the rule is not to be chosen."""
    return {}


def sources(_spec: Spec, _root: Path) -> Sequence[Path]:
    """None: it reads the search only."""
    return ()


def run(job: Job) -> None:
    """Write ``parameters.json``: dotted keys of ``train`` and their values, none where the defaults stay."""
    best = json.loads((job.inputs["tune"] / "best.json").read_bytes())
    taken = best["parameters"] if best["taken"] else {}
    text = json.dumps(taken, indent=1, sort_keys=True, ensure_ascii=False)
    (job.out / FILE).write_text(text + "\n", encoding="utf-8")
    job.fact(", ".join(f"{key} {value}" for key, value in taken.items()) or "the defaults stay")


def settings(job: Job, params: Mapping[str, Any]) -> Train:
    """What *params* of stage train say, with what the search found, where there was one."""
    train = msgspec.convert({key: value for key, value in params.items() if key in Train.__struct_fields__}, Train)
    if name not in job.inputs:
        return train
    return applied(train, json.loads((job.inputs[name] / FILE).read_bytes()))
