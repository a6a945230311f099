"""Stage compress for embeddings: the export stands where its source stands, and finds what it finds."""

from __future__ import annotations

import numpy as np
import pytest
from embed_rig import faq_rows, faq_spec
from stage_rig import run_stage

from guideway.core.errors import GuidewayError, SpecError
from guideway.pipeline.stages.embed import export as exporting
from guideway.pipeline.stages.embed.compress import distances
from guideway.replica.embedder import FILE, EmbedderSettings, OnnxEmbedder, read_settings, write_settings


def compress_again(faq, name, **parts):
    inputs = {"data": faq.out["data"], "train": faq.out["train"]}
    return run_stage("compress", faq_spec(**parts), faq.root, faq.root / name, **inputs)


def test_the_export_to_fp32_stands_where_its_source_stands(faq):
    job = compress_again(faq, "fp32", compress={"precision": "fp32"})
    assert job.one("parity_difference").value < 1e-6
    assert job.one("parity_agreement").value == 1.0
    assert job.one("kl_to_source").value < 1e-6
    assert job.one("top1_flips").value == 0.0


def test_int8_is_close_and_is_compared_on_every_text(faq):
    job = faq.jobs["compress"]
    assert job.one("cosine_distance").value < 0.01
    assert job.one("parity_agreement").n == 12 + 12 + 36, "passages, held-out questions, and training questions"
    flips, moved = job.one("top1_flips"), job.one("kl_to_source")
    assert (flips.n, flips.source) == (12, "train"), "of held-out questions only"
    assert moved.interval.low <= moved.value <= moved.interval.high


def test_exporting_twice_gives_the_same_bytes(faq):
    again = compress_again(faq, "compressed-again")
    before = {path.name: path.read_bytes() for path in faq.out["compress"].iterdir()}
    assert before == {path.name: path.read_bytes() for path in again.out.iterdir()}


def test_texts_are_embedded_alike_alone_and_in_company(faq):
    model = OnnxEmbedder(faq.out["compress"])
    ids = [model.reader.encode(row["prompt"]) for row in faq_rows()[:5]]
    together, alone = model.embed(ids), np.concatenate([model.embed([one]) for one in ids])
    assert distances(together, alone).max() < 1e-3
    assert np.abs(np.linalg.norm(together, axis=1) - 1.0).max() < 1e-5


def test_an_export_that_disagrees_with_its_source_is_refused(faq, tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "TOLERANCE", -1.0)
    with pytest.raises(GuidewayError, match="its export differs by"):
        exporting.export(faq.out["train"], tmp_path, "fp32")


def test_a_graph_of_another_width_than_its_settings_say_is_refused(faq, tmp_path):
    for path in faq.out["compress"].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    write_settings(tmp_path, EmbedderSettings(width=31, max_tokens=60))
    with pytest.raises(SpecError, match="no 'embedding' of 31 numbers"):
        OnnxEmbedder(tmp_path)


@pytest.mark.parametrize(
    "text", ["{", '{"width": 0, "max_tokens": 9}', '{"width": 3, "max_tokens": 9, "pooling": "x"}']
)
def test_settings_that_make_no_sense_are_one_clear_line(tmp_path, text):
    (tmp_path / FILE).write_text(text)
    with pytest.raises(SpecError) as refused:
        read_settings(tmp_path)
    assert FILE in str(refused.value) and "\n" not in str(refused.value)
