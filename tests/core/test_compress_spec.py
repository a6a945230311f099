"""The key ``compress``: what it may ask for, and what is refused with the line."""

from __future__ import annotations

import pytest

from guideway.core.errors import SpecError
from guideway.core.spec import load

HEAD = "guideway: 1\nname: small\ndata: {sources: [{path: rows.jsonl}]}\n"


def loaded(tmp_path, text):
    path = tmp_path / "guideway.yaml"
    path.write_text(HEAD + text)
    return load(path).spec.compress


def test_auto_has_all_precisions_as_candidates_unless_it_says_otherwise(tmp_path):
    assert loaded(tmp_path, "compress: {precision: auto}\n").candidates == ("int4", "int8", "fp32")
    assert loaded(tmp_path, "compress: {precision: auto, candidates: [int8]}\n").candidates == ("int8",)


def test_pruning_has_defaults(tmp_path):
    prune = loaded(tmp_path, "compress:\n  prune: {what: heads}\n").prune
    assert (prune.method, prune.share, prune.what, prune.recover_steps) == ("structured", 0.2, "heads", 0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("compress:\n  precision: auto\n  candidates: [int8, int8]\n", "yaml:6.*a candidate is there twice"),
        ("compress:\n  candidates: [int8]\n", "yaml:5.*precision int8 has no candidates"),
        (
            "serve: {engine: transformers}\ncompress:\n  precision: auto\n",
            "yaml:6.*serves the model as it was trained.*remove compress.precision",
        ),
        (
            "train: {recipe: lora, base: base, privacy: {epsilon: 8.0}}\ncompress:\n  prune: {share: 0.2}\n",
            "yaml:6.*pruning reads training rows once more",
        ),
        ("compress:\n  prune: {share: 1.0}\n", "share"),
    ],
)
def test_what_means_nothing_is_refused_with_its_line(tmp_path, text, said):
    with pytest.raises(SpecError, match=said):
        loaded(tmp_path, text)
