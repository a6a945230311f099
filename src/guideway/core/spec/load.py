"""Read ``guideway.yaml``: variables, overlays, strict types; every error has its line."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from guideway.core.errors import SpecError, did_you_mean
from guideway.core.spec.classify import check_classify
from guideway.core.spec.compress import check_compress
from guideway.core.spec.embed import check_embed
from guideway.core.spec.evaluate import check_evaluate
from guideway.core.spec.explain import explained
from guideway.core.spec.guardrails import check_guardrails
from guideway.core.spec.imported import import_faults
from guideway.core.spec.marked import Marked, read_marked
from guideway.core.spec.model import BUILD_KEYS, ENVIRONMENT_KEYS, LATER_KEYS, NAME, Spec
from guideway.core.spec.runner import check_runner
from guideway.core.spec.train import check_train, check_weights
from guideway.core.spec.tune_check import check_tune

_STATE_URL = re.compile(r"sqlite:///.+|postgres(ql)?(\+psycopg)?://.+")


class SpecFile(msgspec.Struct, frozen=True):
    """A spec with the file it came from, so that later checks can name the line too."""

    spec: Spec
    path: Path
    environment: str
    marked: Marked

    @property
    def root(self) -> Path:
        """The folder of the file: relative paths in the spec start here."""
        return self.path.parent

    def where(self, *keys: str | int) -> str:
        """``guideway.yaml:14`` for the value at *keys* as it holds here, or the nearest line above it."""
        return self.marked.where(("environments", self.environment, *keys) if self.level(*keys) > 1 else keys)

    def level(self, *keys: str | int) -> int:
        """Where the value at *keys* was written: 0 nowhere, so that it is a default; 1 above; 2 in the overlay."""
        overlaid = ("environments", self.environment, *keys)
        return 2 if self.marked.has(overlaid) else int(self.marked.has(keys))


def load(path: Path, environment: str = "dev", variables: Mapping[str, str] | None = None) -> SpecFile:
    """Read the spec in *path* as it holds in *environment*.

    ``${VAR}`` and ``${VAR:-default}`` come from *variables*, by default the process's environment
    over a ``.env`` file beside the spec.

    Raises:
        SpecError: the file is missing, not YAML, has an unknown key, a wrong type or an unset variable.
    """
    path = Path(path)
    if not path.is_file():
        raise SpecError("there is no spec here", where=str(path), try_this="`guideway init` makes one")
    values = dict(_dot_env(path.parent / ".env"), **os.environ) if variables is None else variables
    marked = read_marked(path, values)
    plain = _overlaid(marked, environment)
    try:
        spec = msgspec.convert(plain, Spec)
    except msgspec.ValidationError as error:
        raise explained(error, plain, marked, environment) from None
    _check_references(spec, marked)
    return SpecFile(spec=spec, path=path.absolute(), environment=environment, marked=marked)


def state_url(path: Path, environment: str) -> str:
    """Where the spec in *path*, which may be wrong in all else, keeps its rows; empty where it does not say."""
    try:
        plain = read_marked(path, dict(_dot_env(path.parent / ".env"), **os.environ)).value
    except SpecError:
        return ""
    found = ""
    for keys in (("state", "url"), ("environments", environment, "state", "url")):
        value = plain
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        found = value if isinstance(value, str) else found
    return found


def _overlaid(marked: Marked, environment: str) -> dict[str, Any]:
    """The top level with the chosen overlay laid over it; refuses keys that an overlay may not touch."""
    plain = marked.value
    if not isinstance(plain, dict):
        raise SpecError("a spec is a mapping of keys", where=marked.where(()), try_this="start with `guideway: 1`")
    for key in LATER_KEYS:
        if key in plain:
            raise SpecError(
                f"'{key}' is reserved and not read by this version", where=marked.where((key,)), try_this="remove it"
            )
    overlays = plain.get("environments") or {}
    if not isinstance(overlays, dict):
        raise SpecError("'environments' maps a name to its keys", where=marked.where(("environments",)))
    for name, overlay in overlays.items():
        _check_overlay(marked, name, overlay)
    if environment not in overlays and environment != "dev":
        raise SpecError(
            f"there is no environment called '{environment}'",
            where=marked.where(("environments",)),
            try_this=did_you_mean(environment, [*overlays, "dev"]),
        )
    base = {key: value for key, value in plain.items() if key != "environments"}
    return _merge(base, overlays.get(environment) or {})


def _check_overlay(marked: Marked, name: str, overlay: Any) -> None:
    where = ("environments", name)
    if not re.fullmatch(NAME, str(name)):  # a file is called by it, and '*' would mean every environment
        raise SpecError(
            f"'{name}' cannot be the name of an environment",
            where=marked.where(where),
            try_this="small letters, digits, '.', '_' and '-', 63 at most",
        )
    if overlay is not None and not isinstance(overlay, dict):
        raise SpecError(f"environment '{name}' must be a mapping", where=marked.where(where))
    for key in overlay or {}:
        if key in BUILD_KEYS:
            raise SpecError(
                f"'{key}' is part of the release, so no environment can change it",
                where=marked.where((*where, key)),
                try_this="one release serves every environment; set it at the top level",
            )
        if key not in ENVIRONMENT_KEYS:
            raise SpecError(
                f"unknown key '{key}'",
                where=marked.where((*where, key)),
                try_this=did_you_mean(str(key), ENVIRONMENT_KEYS),
            )


def _merge(base: dict[str, Any], overlay: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in overlay.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _check_references(spec: Spec, marked: Marked) -> None:
    """A rule that names nothing is an error when it is loaded."""
    _check_requirements(spec, marked)
    _check_splits(spec, marked)
    check_evaluate(spec.evaluate, spec.data.splits, marked)
    check_train(spec.train, spec.data.splits, marked)
    check_runner(spec.runner, marked)
    check_weights([source.weight for source in spec.data.sources], spec.train, marked)
    for keys, what, advice in import_faults(spec):
        raise SpecError(what, where=marked.where(keys), try_this=advice)
    check_tune(spec.tune, spec.train, marked)
    check_compress(spec.compress, spec.train, spec.serve.engine, marked)
    check_classify(spec, marked)
    check_embed(spec, marked)
    check_guardrails(spec.serve.guardrails, marked)
    if spec.state.url and not _STATE_URL.fullmatch(spec.state.url):  # never repeated: it may hold a password
        raise SpecError(
            "state.url is no URL of a database",
            where=marked.where(("state", "url")),
            try_this="write sqlite:///FILE or postgresql://USER@HOST:PORT/NAME",
        )


def _check_requirements(spec: Spec, marked: Marked) -> None:
    for index, requirement in enumerate(spec.evaluate.require):
        at = marked.where(("evaluate", "require", index, "split"))
        if requirement.split and requirement.split not in spec.data.splits:
            raise SpecError(
                f"there is no split called '{requirement.split}'",
                where=at,
                try_this=did_you_mean(requirement.split, spec.data.splits),
            )
        if (requirement.at_least is None) == (requirement.at_most is None):
            raise SpecError("a requirement has either 'at_least' or 'at_most'", where=at)


def _check_splits(spec: Spec, marked: Marked) -> None:
    if spec.explain and spec.explain.split not in {"", *spec.data.splits}:
        raise SpecError(
            f"there is no split called '{spec.explain.split}'",
            where=marked.where(("explain", "split")),
            try_this=did_you_mean(spec.explain.split, spec.data.splits),
        )
    for name, split in spec.data.splits.items():
        if (split.share is None) == (not split.values):
            raise SpecError(
                f"split '{name}' has either 'share' or 'values'", where=marked.where(("data", "splits", name))
            )


def _dot_env(path: Path) -> dict[str, str]:
    """``KEY=value`` lines; ``#`` starts a comment line; quotes around a value are dropped."""
    if not path.is_file():
        return {}
    values = {}
    for number, raw in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        key, equals, value = line.removeprefix("export ").partition("=")
        if not equals or not key.strip().isidentifier():
            raise SpecError("a line here reads KEY=value", where=f"{path.name}:{number}")
        value = value.strip()
        values[key.strip()] = value[1:-1] if len(value) > 1 and value[0] == value[-1] in "'\"" else value
    return values
