"""A job that remembers, and a small data set that a tiny model can learn."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from guideway.core.evidence import Evidence
from guideway.core.spec import Spec
from guideway.pipeline.stages import against, compress, data, evaluate, explain, judge, refusals, train

STAGES = {module.name: module for module in (data, train, compress, evaluate)}
EVERY = STAGES | {module.name: module for module in (against, explain, judge, refusals)}

COLOURS = {
    "sky": "blue", "grass": "green", "snow": "white", "coal": "black", "blood": "red", "lemon": "yellow",
    "leaf": "green", "sea": "blue", "milk": "white", "night": "black", "rose": "red", "sun": "yellow",
}  # fmt: skip
PHRASINGS = (
    "what colour is `{}`?", "which colour has `{}`?", "name the colour of `{}`", "`{}` has what colour?",
    "tell me the colour of `{}`", "the colour of `{}`?", "say how `{}` looks", "`{}`: which colour?",
)  # fmt: skip


class Measured(NamedTuple):
    """One fact that a stage left."""

    value: float
    unit: str
    about: str
    n: int
    interval: Any
    slice: str
    source: str | None
    repeatable: bool = True


class FakeJob:
    """Meets ``core.protocols.Job`` and keeps all that it hears."""

    def __init__(self, params: dict[str, Any], inputs: dict[str, Path], root: Path, out: Path) -> None:
        self.params = msgspec.json.decode(msgspec.json.encode(params))
        self.inputs, self.root, self.out = inputs, root, out
        self.resume = out.with_name(f"{out.name}-resume")
        self.recalled: list[Evidence] = []
        self.runner: dict[str, Any] = {}
        self.heard: list[tuple[str, Measured]] = []
        self.facts: list[str] = []
        self.moved: list[tuple[float, float]] = []
        out.mkdir(parents=True)

    def progress(self, done, total, note=""):
        self.moved.append((done, total))

    def measure(self, metric, value, unit, *, about, n=0, interval=None, slice="", source=None, repeatable=True):
        assert about in ("out", *self.inputs) and source in (None, "out", *self.inputs)
        self.heard.append((metric, Measured(value, unit, about, n, interval, slice, source, repeatable)))

    def fact(self, text):
        self.facts.append(text)

    def one(self, metric, about="out", slice=""):
        """The only fact of this kind."""
        found = [fact for name, fact in self.heard if (name, fact.about, fact.slice) == (metric, about, slice)]
        assert len(found) == 1, f"{metric} about {about} on '{slice}': {len(found)} of {len(self.heard)}"
        return found[0]


def write_jsonl(path: Path, rows: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def read_jsonl(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def spec_of(**parts: Any) -> Spec:
    """A spec with the parts given; data is one file ``rows.jsonl`` unless said otherwise."""
    whole = {"guideway": 1, "name": "small", "data": {"sources": [{"path": "rows.jsonl"}]}, **parts}
    return msgspec.convert(whole, Spec)


def run_stage(
    name: str, spec: Spec, root: Path, out: Path, *, recalled: Sequence[Evidence] = (), **inputs: Path
) -> FakeJob:
    """Run one stage as a build does: sources checked, parameters through JSON."""
    stage = EVERY[name]
    stage.sources(spec, root)
    job = FakeJob(dict(stage.params(spec)), inputs, root, out)
    job.recalled += recalled
    stage.run(job)
    return job


def colour_rows() -> list[dict[str, str]]:
    """Every thing in every phrasing."""
    return [
        {"prompt": phrasing.format(thing), "response": colour, "thing": thing, "phrasing": f"p{number}"}
        for thing, colour in COLOURS.items()
        for number, phrasing in enumerate(PHRASINGS)
    ]


def colour_spec(**parts: Any) -> Spec:
    """Learns the colours in seconds."""
    shape = {
        "layers": 2,
        "hidden": 64,
        "heads": 2,
        "kv_heads": 1,
        "feed_forward": 128,
        "vocabulary": 400,
        "context": 64,
    }
    made = {
        "data": {"sources": [{"path": "rows.jsonl"}], "splits": {"unseen": {"by": ["phrasing"], "values": ["p7"]}}},
        "train": {"architecture": shape, "steps": 150, "batch": 16, "learning_rate": 5e-3, "warmup": 10},
        "evaluate": {"max_tokens": 8},
    }
    return spec_of(**made | parts)


class Pass(NamedTuple):
    """All stages once over the colours: the spec, the folder of the spec, outputs and jobs by stage."""

    spec: Spec
    root: Path
    out: dict[str, Path]
    jobs: dict[str, FakeJob]
