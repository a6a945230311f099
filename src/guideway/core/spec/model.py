"""The keys of ``guideway.yaml``. Unknown keys and wrong types are errors; defaults are written here once."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from guideway.core.gate import Bite, Level
from guideway.core.privacy import Action, Entity
from guideway.core.release import Decoding
from guideway.core.spec.compress import Compress
from guideway.core.spec.evaluate import Evaluate
from guideway.core.spec.gateway import Gateway
from guideway.core.spec.guardrails import Guardrails
from guideway.core.spec.judge import without_place
from guideway.core.spec.part import Part, Positive, Share
from guideway.core.spec.rollout import Rollout
from guideway.core.spec.runner import Runner
from guideway.core.spec.scale import Scale
from guideway.core.spec.train import Train
from guideway.core.spec.tune import Tune

NAME = r"^[a-z0-9][a-z0-9._-]{0,62}$"
Name = Annotated[str, Meta(pattern=NAME, description="Small letters, digits, '.', '_', '-'.")]


class Datasheet(Part, frozen=True):
    """What a reader must know of a data set, in the manner of Gebru et al. 2021: one or two sentences each."""

    purpose: str = ""
    contents: str = ""
    collected_by: str = ""
    collected_when: str = ""
    people: str = ""
    rights: str = ""
    uses: str = ""
    maintainer: str = ""


class Source(Part, frozen=True):
    """One file, or a glob, of input data. ``format`` follows from the suffix when it is left out.

    ``weight`` is the share of training batches that come from here, beside the weights of the other sources.
    """

    path: str
    format: Literal["jsonl", "csv", "text"] | None = None
    licence: str = ""
    origin: str = ""
    weight: Annotated[float, Meta(gt=0.0)] | None = None
    datasheet: Datasheet = Datasheet()


class Split(Part, frozen=True):
    """Rows held out under a name: whole groups of the same values in the fields ``by``.

    Either a ``share`` of the groups, drawn with the seed of ``data``, or the groups whose value is in ``values``.
    An empty ``by`` makes every row its own group. A split that is not ``judged`` is measured and reported,
    but refuses nothing: what nobody can know, say.
    """

    by: tuple[str, ...] = ()
    share: Share | None = None
    values: tuple[str, ...] = ()
    judged: bool = True


class Data(Part, frozen=True):
    """Input data, and how it is cleaned and split. Rows hold prompt and response, messages, text, or text and label.

    A row whose label is ``out_of_scope`` belongs to no class: it sets and tests the threshold below which a
    classifier says so. With ``learn_out_of_scope`` it is one more class instead.
    """

    sources: Annotated[tuple[Source, ...], Meta(min_length=1)]
    prompt: str = "prompt"
    response: str = "response"
    text: str = "text"
    label: str = "label"
    out_of_scope: str = ""
    learn_out_of_scope: bool = False
    splits: dict[Name, Split] = msgspec.field(default_factory=lambda: {"test": Split(share=0.1)})
    seed: int = 7
    deduplicate: bool = True
    max_bad_rows: Share = 0.01


class Explain(Part, frozen=True):
    """Which held-out rows are explained, and by which method. Nothing is unless the spec has this part.

    ``auto`` is occlusion for answers and shap for classes. ``split`` is by default the first one that is judged.
    With the default of 50 ``examples`` the deletion test is what clause EXP-01 asks for.
    """

    examples: Positive = 50
    method: Literal["auto", "occlusion", "shap", "lime", "gradients"] = "auto"
    split: str = ""
    seed: int = 7


class Prompt(Part, frozen=True):
    """The system prompt, and a file with a Jinja chat template (default: the tokenizer's own)."""

    system: str = ""
    template: str | None = None


class Serve(Part, frozen=True):
    """How the model answers. ``engine`` names a built-in or an extension."""

    engine: str = "onnx"
    prompt: Prompt = Prompt()
    decoding: Decoding = Decoding()
    guardrails: Guardrails = Guardrails()


class Policy(Part, frozen=True):
    """What a release allows, and what people must know of it: use, limits, how they step in, whom they ask.

    ``masking`` is the least that every environment does with personal data; an environment may only do more.
    """

    cacheable: bool = True
    masking: dict[Entity, Action] = msgspec.field(default_factory=dict)
    licence: str = ""
    intended_use: str = ""
    limits: str = ""
    oversight: str = ""
    contact: str = ""


class Tightening(Part, frozen=True):
    """How a team makes one clause of the Standard stricter: its bite, and limits by metric."""

    bite: Bite | None = None
    at_most: dict[str, float] = msgspec.field(default_factory=dict)
    at_least: dict[str, float] = msgspec.field(default_factory=dict)


class Standard(Part, frozen=True):
    """Which column of the Standard holds here, where the service is offered, and what the team asks beyond it.

    ``level`` follows from the name of the environment; a name other than dev and staging is judged as prod.
    ``overlay`` is a file of the team with clauses of its own.
    """

    level: Level | None = None
    jurisdictions: tuple[Literal["CN", "EU"], ...] = ("CN", "EU")
    organisation: str = ""
    clauses: dict[str, Tightening] = msgspec.field(default_factory=dict)
    overlay: str | None = None


class State(Part, frozen=True):
    """Where the rows are kept; empty: in a SQLite file of the state folder. ``$GUIDEWAY_STATE`` goes before it."""

    url: str = ""


class Environment(Part, frozen=True):
    """What one environment may set differently: never anything that is inside a release."""

    target: str = "local"
    runner: Runner = Runner()
    replicas: Positive = 2
    scale: Scale | None = None
    gateway: Gateway = Gateway()
    rollout: Rollout = Rollout()
    standard: Standard = Standard()
    state: State = State()


class Spec(Part, frozen=True):
    """One model on its way to people. The first group of keys is inside the release, the second is not."""

    guideway: Literal[1]
    name: Name
    data: Data
    task: Literal["chat", "completion", "classify", "embed"] = "chat"
    tune: Tune | None = None
    train: Train = Train()
    evaluate: Evaluate = Evaluate()
    compress: Compress = Compress()
    explain: Explain | None = None
    serve: Serve = Serve()
    policy: Policy = Policy()

    target: str = "local"
    runner: Runner = Runner()
    replicas: Positive = 2
    scale: Scale | None = None
    gateway: Gateway = Gateway()
    rollout: Rollout = Rollout()
    standard: Standard = Standard()
    state: State = State()


BUILD_KEYS = ("guideway", "name", "task", "data", "tune", "train", "evaluate", "compress", "explain", "serve", "policy")
ENVIRONMENT_KEYS = ("target", "runner", "replicas", "scale", "gateway", "rollout", "standard", "state")
OPTIONAL_KEYS = ("tune", "explain")
"""Keys of the build part that a release without them does not mention."""
LATER_KEYS = ("watch", "backup")
"""Keys of the design that no part of this version reads yet: using one is an error that says so."""


def build_part(spec: Spec) -> dict[str, Any]:
    """The part of *spec* that goes into the release: no environment, no host, no time."""
    plain = msgspec.to_builtins(spec)
    if spec.evaluate.judge:
        plain["evaluate"]["judge"] = msgspec.to_builtins(without_place(spec.evaluate.judge))
    return {key: plain[key] for key in BUILD_KEYS if key not in OPTIONAL_KEYS or plain[key] is not None}
