"""Mistakes in a spec are told in words that a person has who knows YAML, and no programming language."""

from __future__ import annotations

import pytest
import yaml

from guideway.core.errors import SpecError
from guideway.core.spec import load
from guideway.core.spec.not_yaml import not_yaml

HEAD = (
    "guideway: 1\nname: small\ndata: {sources: [{path: a.jsonl}], splits: {test: {share: 0.1}, other: {share: 0.2}}}\n"
)


def told(tmp_path, text: str, environment: str = "dev") -> str:
    """What is said of *text*, which begins in line 4 or replaces what the head says of the data."""
    path = tmp_path / "guideway.yaml"
    head = HEAD if not text.startswith("data:") else HEAD[: HEAD.index("data:")] + "\n"
    path.write_text(head + text + "\n", encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        load(path, environment, {})
    return str(caught.value).removeprefix("guideway.yaml:")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("replicas: two", "4: replicas: must be a whole number, not text"),
        ("replicas: 1.5", "4: replicas: must be a whole number, not a fraction"),
        ("replicas: yes", "4: replicas: must be a whole number, not true or false"),
        ("replicas:", "4: replicas: must be a whole number, and nothing is written here"),
        ("replicas: 0", "4: replicas: must be at least 1"),
        ("gateway: {port: 70000}", "4: gateway.port: must be at most 65535"),
        ("rollout: {ready_within: 0}", "4: rollout.ready_within: must be more than 0"),
        ("rollout: {steps: {weight: 0.1}}", "4: rollout.steps: must be a list, not a mapping of keys"),
        ("rollout: {steps: [{weight: x, units: 9}]}", "4: rollout.steps.0.weight: must be a number, not text"),
        ("rollout: {steps: [{weight: 0.1}]}", "4: rollout.steps.0: 'units' is missing"),
        ("rollout: {golden: {file: ''}}", "4: rollout.golden.file: must not be empty"),
        ("policy: {cacheable: maybe}", "4: policy.cacheable: must be true or false, not text"),
        ("policy: {contact: 3}", "4: policy.contact: must be text, not a number (put it between quotes)"),
        ("policy: [x]", "4: policy: must be a mapping of keys, not a list"),
        ("rollout: {unit: person}", "4: rollout.unit: 'person' is not one of auto, caller, request"),
    ],
)
def test_a_wrong_type_is_told_in_plain_words(tmp_path, text, says):
    assert told(tmp_path, text) == says


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "data: {sources: [{path: a}], splits: {test: {share: 0.1}, other: {share: x}}}",
            "4: data.splits.other.share: ",
        ),
        (
            "gateway: {masking: {entities: {email: mask, phone: maybe}}}",
            "4: gateway.masking.entities.phone: 'maybe' is not",
        ),
        ("gateway: {masking: {entities: {mail: mask}}}", "4: gateway.masking.entities: 'mail' is not one of address, "),
    ],
)
def test_of_many_keys_the_one_that_is_wrong_is_named(tmp_path, text, says):
    assert told(tmp_path, text).startswith(says)


def test_so_is_one_that_only_an_overlay_has(tmp_path):
    overlay = "environments:\n  prod:\n    gateway:\n      masking:\n        entities:\n          email: maybe"
    assert told(tmp_path, overlay, "prod").startswith("9: gateway.masking.entities.email: 'maybe' is not one of")


CASES = [
    (
        "rollout: {steps: [{weight: 0.1 units: 9}]}",
        "4: not YAML: steps: a ',' or '}' is missing after the value of 'weight'",
    ),
    (
        "rollout: {steps: [{weight: 0.1, units: 9]}",
        "4: not YAML: steps: a ',' or '}' is missing after the value of 'units'",
    ),
    ("gateway: {cache: {store: a{b}}", "4: not YAML: cache: a ',' or '}' is missing after the value of 'store'"),
    (
        "rollout: {steps: [{weight: 0.1, units: 9}\nreplicas: 2",
        "4: not YAML: steps: the '[' that begins here misses its ']', or a ',' before line 5",
    ),
    ("policy: licence: MIT", "4: not YAML: 'policy' has a second ':' in its line"),
    ("policy:\n\tlicence: MIT", "5: not YAML: a tab stands here"),
    ("policy: {contact: @ann}", "4: not YAML: contact: no text begins with @"),
    ("policy: {contact: *ann}", "4: not YAML: contact: a '*' refers to something, and nothing is called so"),
    ("policy: {contact: 'ann}", "4: not YAML: contact: the quote that begins here does not end"),
    ("policy:\n    contact: ann\n  limits: none", "6: not YAML: this line does not fit to those above it"),
]


@pytest.mark.parametrize(("text", "says"), CASES)
def test_what_is_no_yaml_is_told_with_its_line_and_key(tmp_path, text, says):
    assert told(tmp_path, text).partition(" (")[0] == says


@pytest.mark.parametrize(("text", "says"), CASES)
def test_the_loader_that_is_always_there_says_the_same(text, says):
    whole = HEAD + text + "\n"
    with pytest.raises(yaml.MarkedYAMLError) as caught:
        yaml.compose(whole, Loader=yaml.SafeLoader)
    assert str(not_yaml(caught.value, whole, "guideway.yaml")).partition(" (")[0] == f"guideway.yaml:{says}"


def test_what_is_no_yaml_comes_with_advice(tmp_path):
    assert told(tmp_path, "policy: licence: MIT").endswith("between quotes, or begin a new line)")
    assert told(tmp_path, "policy:\n\tlicence: MIT").endswith("(indent with spaces)")


def test_an_alias_inside_of_what_it_refers_to_is_refused(tmp_path):
    assert "an alias stands inside of what it refers to" in told(tmp_path, "policy: &a {limits: *a}")


@pytest.mark.parametrize("text", ["{", "[", "a: {", "{}\n["])
def test_a_bracket_at_the_very_end_is_told_in_one_line(tmp_path, text):
    path = tmp_path / "guideway.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SpecError, match="not YAML"):
        load(path, "dev", {})
