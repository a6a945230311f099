"""The spec: strict, with the line of every error."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from guideway.core.errors import SpecError
from guideway.core.spec import Explain, Spec, build_part, json_schema, load

ANNOTATED = Path(__file__).parents[2] / "docs" / "guideway.yaml"
SMALL = """guideway: 1
name: small
data:
  sources:
    - path: a.jsonl
"""


@pytest.fixture
def write(tmp_path):
    def writes(text: str) -> Path:
        path = tmp_path / "guideway.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return writes


def refused(path: Path, environment: str = "dev", **variables: str) -> str:
    with pytest.raises(SpecError) as caught:
        load(path, environment, variables)
    return str(caught.value)


def test_the_annotated_example_loads_in_every_environment():
    for environment in ("dev", "staging", "prod"):
        assert load(ANNOTATED, environment, {}).spec.name == "annotated"


def test_an_environment_may_keep_its_state_elsewhere(write):
    overlay = "environments:\n  prod:\n    state: {url: 'postgresql://ann:${DB_PASSWORD}@db/state'}\n"
    path = write(SMALL + overlay)
    assert load(path, "dev", {"DB_PASSWORD": "s3cret"}).spec.state.url == ""
    assert load(path, "prod", {"DB_PASSWORD": "s3cret"}).spec.state.url == "postgresql://ann:s3cret@db/state"


@pytest.mark.parametrize("url", ["mysql://ann:s3cret@db/x", "s3cret", "sqlite://", "postgresql:/s3cret"])
def test_a_state_that_is_no_url_of_a_database_is_refused_and_not_repeated(write, url):
    says = refused(write(SMALL + f"state:\n  url: {url}\n"))
    assert says.startswith("guideway.yaml:7: state.url is no URL of a database") and "s3cret" not in says


def test_the_annotated_example_names_every_key():
    def missing(kind: type, plain: object, path: str) -> list[str]:
        if not isinstance(plain, dict):
            return []
        fields = msgspec.structs.fields(kind)
        gone = [f"{path}.{field.name}" for field in fields if field.name not in plain]
        inner = [
            one
            for field in fields
            if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct) and field.name in plain
            for one in missing(field.type, plain[field.name], f"{path}.{field.name}")
        ]
        return gone + inner

    assert missing(Spec, yaml.safe_load(ANNOTATED.read_text(encoding="utf-8")), "") == []


def test_the_annotated_example_shows_the_defaults_that_it_says_it_shows():
    loaded = load(ANNOTATED, "dev", {}).spec
    small = msgspec.convert(yaml.safe_load(SMALL), Spec)
    for key in ("train", "compress", "serve", "policy", "gateway", "rollout", "replicas", "target", "task"):
        assert getattr(loaded, key) == getattr(small, key), key
    assert loaded.explain == Explain()


def test_the_schema_accepts_the_annotated_example_and_refuses_an_unknown_key():
    plain = yaml.safe_load(ANNOTATED.read_text(encoding="utf-8"))
    jsonschema.validate(plain, json_schema())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**plain, "trian": {}}, json_schema())


def test_the_published_schema_is_the_current_one():
    published = ANNOTATED.with_name("guideway.schema.json").read_bytes()
    assert msgspec.json.decode(published) == json_schema()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (SMALL + "trian: {}\n", "guideway.yaml:6: unknown key 'trian' (did you mean 'train'?)"),
        (
            SMALL + "explain: {split: tset}\n",
            "guideway.yaml:6: there is no split called 'tset' (did you mean 'test'?)",
        ),
        (
            SMALL + "explain: {method: guess}\n",
            "guideway.yaml:6: explain.method: 'guess' is not one of auto, gradients, lime, occlusion, shap",
        ),
        (SMALL + "train:\n  stps: 5\n", "guideway.yaml:7: unknown key 'stps' (did you mean 'steps'?)"),
        (SMALL + "train:\n  steps: many\n", "guideway.yaml:7: train.steps: must be a whole number, not text"),
        (SMALL + "train:\n  steps: 0\n", "guideway.yaml:7: train.steps: must be at least 1"),
        (
            SMALL + "serve:\n  decoding:\n    stop: [1]\n",
            "guideway.yaml:8: serve.decoding.stop.0: must be text, not a number (put it",
        ),
        (SMALL.replace("small", "Not Small"), "guideway.yaml:2: name: this cannot be a name (small letters, digits"),
        (SMALL + "name: again\n", "guideway.yaml:6: 'name' is here twice; first in line 2"),
        (SMALL + "watch: {}\n", "guideway.yaml:6: 'watch' is reserved"),
        (SMALL + "a: [1\n", "guideway.yaml:6: not YAML: a: the '[' that begins here"),
        (SMALL + "train: {recipe: full}\n", "guideway.yaml:6: recipe 'full' needs a base model"),
        (SMALL + "train: {recipe: lora}\n", "guideway.yaml:6: recipe 'lora' needs a base model"),
        (SMALL + "train: {recipe: qlora}\n", "guideway.yaml:6: recipe 'qlora' needs a base model"),
        (
            SMALL + "train: {recipe: qlora, base: x, privacy: {epsilon: 8}}\n",
            "guideway.yaml:6: recipe 'qlora' cannot learn with privacy",
        ),
        (SMALL + "train: {recipe: distill}\n", "guideway.yaml:6: recipe 'distill' needs a teacher"),
        (SMALL + "train:\n  teacher: x\n", "guideway.yaml:7: recipe 'scratch' has no teacher"),
        (
            SMALL + "train:\n  privacy: {epsilon: 8}\n",
            "guideway.yaml:7: recipe 'scratch' makes its tokenizer from the rows",
        ),
        (
            SMALL + "train: {recipe: full, base: x, precision: bf16, privacy: {epsilon: 8}}\n",
            "guideway.yaml:6: training with privacy needs precision fp32",
        ),
        (
            SMALL + "train: {recipe: full, base: x, privacy: {epsilon: 8, budget: 4}}\n",
            "guideway.yaml:6: the budget is less than this training alone may spend",
        ),
        (
            SMALL + "      weight: 2\n    - path: b.jsonl\n",
            "guideway.yaml:7: this source has no weight, and others have one",
        ),
        (
            SMALL + "      weight: 2\ntrain: {recipe: full, base: x, privacy: {epsilon: 8}}\n",
            "guideway.yaml:5: with privacy, every row has the same chance",
        ),
        (SMALL + "train:\n  validation: {split: tset}\n", "guideway.yaml:7: there is no split called 'tset'"),
        (SMALL.replace("guideway: 1\n", ""), "guideway.yaml:1: "),
        ("", "guideway.yaml:1: a spec is a mapping"),
        (
            SMALL + "evaluate:\n  require:\n    - {metric: loss, split: tset, at_most: 1}\n",
            "guideway.yaml:8: there is no split called 'tset' (did you mean 'test'?)",
        ),
        (
            SMALL + "evaluate:\n  require:\n    - {metric: loss}\n",
            "guideway.yaml:8: a requirement has either 'at_least' or 'at_most'",
        ),
        (
            SMALL + "environments:\n  prod:\n    train: {steps: 3}\n",
            "guideway.yaml:8: 'train' is part of the release",
        ),
        (
            SMALL + "environments:\n  prod:\n    replcas: 3\n",
            "guideway.yaml:8: unknown key 'replcas' (did you mean 'replicas'?)",
        ),
    ],
)
def test_a_mistake_is_told_with_its_line_and_what_to_do(write, text, says):
    assert refused(write(text)).startswith(says)


def test_an_overlay_error_names_the_line_in_the_overlay(write):
    text = SMALL + "replicas: 2\nenvironments:\n  prod:\n    replicas: lots\n"
    assert refused(write(text), "prod").startswith("guideway.yaml:9: replicas: must be a whole number")


def test_an_unknown_environment_is_refused_with_the_nearest_name(write):
    path = write(SMALL + "environments:\n  prod: {}\n")
    assert "did you mean 'prod'?" in refused(path, "prd")


def test_overlays_merge_deeply_and_leave_the_rest(write):
    path = write(SMALL + "gateway: {port: 9000, workers: 2}\nenvironments:\n  prod:\n    gateway: {port: 9001}\n")
    assert load(path, "prod").spec.gateway.port == 9001
    assert load(path, "prod").spec.gateway.workers == 2
    assert load(path, "dev").spec.gateway.port == 9000


def test_the_build_part_is_the_same_in_every_environment(write):
    path = write(SMALL + "environments:\n  prod: {replicas: 9}\n")
    assert build_part(load(path, "prod").spec) == build_part(load(path, "dev").spec)


def test_variables_come_with_their_type_and_default(write):
    path = write(SMALL + "gateway:\n  port: ${PORT}\n  host: ${HOST:-localhost}\npolicy:\n  licence: $$5\n")
    spec = load(path, variables={"PORT": "9123"}).spec
    assert (spec.gateway.port, spec.gateway.host, spec.policy.licence) == (9123, "localhost", "$5")


def test_an_unset_variable_is_told_with_its_line(write):
    assert refused(write(SMALL + "gateway:\n  port: ${NOPE}\n")).startswith("guideway.yaml:7: ${NOPE} is not set")


def test_dot_env_is_read_below_the_environment(write, monkeypatch):
    path = write(SMALL + "replicas: ${COUNT}\ngateway:\n  host: ${WHERE}\n")
    path.with_name(".env").write_text("# a comment\nexport COUNT=3\nWHERE='there'\n", encoding="utf-8")
    monkeypatch.setenv("WHERE", "here")
    spec = load(path).spec
    assert (spec.replicas, spec.gateway.host) == (3, "here")


def test_a_broken_dot_env_names_its_line(write):
    path = write(SMALL)
    path.with_name(".env").write_text("A=1\nnonsense\n", encoding="utf-8")
    with pytest.raises(SpecError, match=r"\.env:2"):
        load(path)


def test_a_missing_spec_says_how_to_make_one(tmp_path):
    assert "`guideway init` makes one" in refused(tmp_path / "guideway.yaml")


def test_a_spec_that_is_not_text_is_refused(tmp_path):
    path = tmp_path / "guideway.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    assert "not UTF-8" in refused(path)


@given(st.text(max_size=80))
def test_no_text_gives_anything_but_a_spec_or_a_spec_error(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("any") / "guideway.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(SpecError):
        load(path, variables={})


@pytest.mark.parametrize("name", ["'*'", "../x", "'dev '", "Prod"])
def test_an_environment_has_a_plain_name(tmp_path, name):
    (tmp_path / "guideway.yaml").write_text(
        f"guideway: 1\nname: a\ndata: {{sources: [{{path: x}}]}}\nenvironments: {{{name}: {{}}}}\n"
    )
    with pytest.raises(SpecError, match="cannot be the name of an environment") as caught:
        load(tmp_path / "guideway.yaml")
    assert caught.value.where == "guideway.yaml:4"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rollout: {strategy: cannary}", "rollout.strategy: 'cannary' is not one of all-at-once, canary, shadow"),
        ("rollout: {unit: requests}", "did you mean 'request'?"),
        ("train: {recipe: dora}", "train.recipe: 'dora' is not one of distill, full, import, lora, qlora, scratch"),
    ],
)
def test_a_word_that_is_none_of_those_that_may_stand_there_is_told_with_those_that_may(tmp_path, text, said):
    path = tmp_path / "guideway.yaml"
    path.write_text(f"{SMALL}\n{text}\n", encoding="utf-8")
    with pytest.raises(SpecError) as error:
        load(path, "dev", {})
    assert said.split(": ", 1)[-1] in str(error.value)
