"""The key ``serve.guardrails``: safe when nobody speaks of it, and strict when somebody does."""

from __future__ import annotations

import pytest

from guideway.core.errors import SpecError
from guideway.core.guardrails import Guardrails, Outlier
from guideway.core.spec import load
from guideway.core.spec.guardrails import rules_of

SMALL = "guideway: 1\nname: small\ndata:\n  sources:\n    - path: a.jsonl\nserve:\n  guardrails:\n"


@pytest.fixture
def asks(tmp_path):
    def writes(text: str):
        path = tmp_path / "guideway.yaml"
        path.write_text(SMALL + text, encoding="utf-8")
        return load(path, "dev", {}).spec.serve.guardrails

    return writes


def test_the_defaults_are_safe(asks):
    rules = rules_of(asks("    max_input: 0\n"))
    assert rules == Guardrails() and rules.secret_prompt and rules.neutralise and rules.tools is None


def test_a_classifier_leaves_its_threshold_in_the_release_and_not_its_data(asks):
    assert rules_of(asks("    classifier: {data: [a.jsonl], threshold: 0.3}\n")) == Guardrails(threshold=0.3)


def test_what_becomes_of_outliers_is_in_the_release_and_not_where_they_were_learnt(asks):
    rules = rules_of(asks("    outlier: {flag: 0.99, refuse: 0.999, data: [a.jsonl], seed: 3}\n"))
    assert rules == Guardrails(outlier=Outlier(flag=0.99, refuse=0.999)) and rules.outlier.strictest == 0.999


def test_no_environment_can_soften_what_becomes_of_outliers(tmp_path):
    path = tmp_path / "guideway.yaml"
    path.write_text(SMALL + "    outlier: {refuse: 0.999}\nenvironments:\n  prod: {serve: {guardrails: {}}}\n")
    with pytest.raises(SpecError, match="'serve' is part of the release"):
        load(path, "prod", {})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "    deny:\n      - {name: a, pattern: 'x'}\n      - {name: b, pattern: '(?=x)'}\n",
            "guideway.yaml:10: rule 'b'",
        ),
        ("    deny:\n      - name: a\n        pattern: '(['\n", "guideway.yaml:10: rule 'a'"),
        ("    deny:\n      - {name: a, pattern: 'x*'}\n", "guideway.yaml:9: rule 'a': it matches the empty text"),
        (
            "    deny:\n      - {name: a, pattern: x}\n      - {name: a, pattern: y}\n",
            "guideway.yaml:10: 'a' is here twice",
        ),
        ("    deny:\n      - {name: a, pattern: x, on: never}\n", "guideway.yaml:9: serve.guardrails.deny"),
        ("    outlier: {}\n", "guideway.yaml:8: nothing is to become of outliers"),
        ("    outlier: {flag: 0.999, refuse: 0.99}\n", "guideway.yaml:8: what is refused cannot be flagged"),
        ("    outlier: {flag: 0.4}\n", "guideway.yaml:8: serve.guardrails.outlier.flag: must be more than 0.5"),
        ("    outlier: {flag: 0.9, route: big}\n", "guideway.yaml:8: unknown key 'route' (a gateway serves one model"),
        ("    topics:\n      deny:\n        - {name: law, words: []}\n", "guideway.yaml:10: serve.guardrails.topics"),
        ("    classifier: {data: []}\n", "guideway.yaml:8: serve.guardrails.classifier"),
        ("    classifier: {data: [a], threshold: 1.0}\n", "guideway.yaml:8: serve.guardrails.classifier"),
        ("    max_input: -1\n", "guideway.yaml:8: serve.guardrails.max_input"),
        ("    neutralize: true\n", "did you mean 'neutralise'?"),
    ],
)
def test_a_rule_that_cannot_work_is_an_error_with_its_line(asks, text, says):
    with pytest.raises(SpecError) as caught:
        asks(text)
    assert says in str(caught.value)


def test_an_environment_cannot_soften_the_rules_of_a_release(asks):
    with pytest.raises(SpecError, match="part of the release"):
        asks("    max_input: 0\nenvironments:\n  dev:\n    serve: {guardrails: {neutralise: false}}\n")
