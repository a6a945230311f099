"""A file of llama2.c becomes a Llama that says the same; a file that is none is one line."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from imported_rig import SHAPE, forward, ids_spec, write_ids, write_llama2c
from stage_rig import STAGES, run_stage, write_jsonl

from guideway.core.errors import GuidewayError
from guideway.pipeline.stages.models import Compressed, Trained

IDS = [1, 5, 9, 20, 33, 7, 2, 11]


def imported(root: Path, **parts):
    write_ids(root)
    data = run_stage("data", ids_spec(**parts), root, root / "data")
    return data, run_stage("train", ids_spec(**parts), root, root / "train", data=root / "data")


@pytest.mark.parametrize(
    ("shape", "shared"),
    [(SHAPE, True), (SHAPE, False), ((32, 48, 1, 2, 1, 40, 24), True), ((24, 48, 1, 2, 2, 40, 24), True)],
    ids=["heads of eight", "a last layer of its own", "heads of sixteen", "heads of twelve"],
)
def test_the_import_says_what_llama2c_says(tmp_path: Path, shape: tuple[int, ...], shared: bool) -> None:
    weights = write_llama2c(tmp_path / "model.bin", shape, shared=shared)
    write_jsonl(tmp_path / "rows.jsonl", [{"text": f"{one} {one + 1}"} for one in range(3, 20)])
    run_stage("data", ids_spec(), tmp_path, tmp_path / "data")
    job = run_stage("train", ids_spec(), tmp_path, tmp_path / "train", data=tmp_path / "data")
    wanted = forward(weights, shape[3], shape[4], IDS)
    np.testing.assert_allclose(Trained(tmp_path / "train").logits(IDS), wanted, rtol=1e-3, atol=1e-3)
    assert job.one("non_finite_weights").n == sum(one.size for name, one in weights.items() if name != "rotary")


def test_it_goes_the_whole_way_and_what_it_learned_from_stays_unknown(tmp_path: Path) -> None:
    write_llama2c(tmp_path / "model.bin")
    jobs = dict(zip(("data", "train"), imported(tmp_path), strict=True))
    out = {name: tmp_path / name for name in STAGES}
    for name in ("compress", "evaluate"):
        inputs = {need: out[need] for need in STAGES[name].needs}
        jobs[name] = run_stage(name, ids_spec(), tmp_path, out[name], **inputs)
    assert jobs["compress"].one("kl_to_source").value < 1e-6
    assert Compressed(out["compress"]).logits(IDS).shape == (len(IDS), SHAPE[5])
    assert jobs["evaluate"].one("perplexity", "compress", "test").value > 1
    heard = {metric for metric, _ in (*jobs["data"].heard, *jobs["train"].heard)}
    unknown = {"exact_overlap", "sources_without_origin", "datasheet_completeness", "resource_use_share", "train_loss"}
    assert heard.isdisjoint(unknown)
    manifest = json.loads((out["data"] / "manifest.json").read_text())
    assert manifest["trained_on"].startswith("unknown")
    assert json.loads((out["train"] / "imported.json").read_text())["origin"] == "a friend"


def test_the_same_file_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_llama2c(tmp_path / name / "model.bin")
        imported(tmp_path / name)
    first, second = (
        {path.name: path.read_bytes() for path in (tmp_path / one / "train").iterdir()} for one in ("one", "two")
    )
    assert first == second


def fault(root: Path, **parts) -> str:
    with pytest.raises(GuidewayError) as caught:
        imported(root, **parts)
    return str(caught.value)


def test_a_truncated_file_is_one_line_with_both_sizes(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    write_llama2c(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-4])
    assert f"has {len(whole):,} bytes, and the file has {len(whole) - 4:,}" in fault(tmp_path)


@pytest.mark.parametrize(
    ("header", "why"),
    [
        ((32, 48, 2, 5, 2, 40, 24), "32 wide with 5 heads"),
        ((32, 48, 2, 4, 3, 40, 24), "4 heads and 3 of keys"),
        ((2**30, 48, 2, 4, 2, 40, 24), "its header makes no sense"),
        ((-32, 48, 2, 4, 2, 40, 24), "its header makes no sense"),
        ((2**20, 2**20, 2**20, 4, 2, 40, 24), "and the file has"),
        ((0x616B3432, 1, 0, 0, 0, 0, 0), "only the first format"),
    ],
)
def test_a_header_that_makes_no_sense_is_one_line(tmp_path: Path, header: tuple[int, ...], why: str) -> None:
    (tmp_path / "model.bin").write_bytes(struct.pack("<7i", *header) + bytes(400))
    assert why in fault(tmp_path)


def test_a_file_that_ends_in_its_header_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"short")
    assert "ends within its header" in fault(tmp_path)


def test_weights_that_are_no_numbers_are_refused_by_name(tmp_path: Path) -> None:
    weights = write_llama2c(tmp_path / "model.bin")
    data = bytearray((tmp_path / "model.bin").read_bytes())
    at = 28 + 4 * sum(weights[name].size for name in ("embedding", "att", "wq"))
    data[at : at + 4] = struct.pack("<f", float("nan"))
    (tmp_path / "model.bin").write_bytes(data)
    assert "wk holds weights that are NaN or infinite" in fault(tmp_path)


def test_another_file_than_the_spec_means_is_refused(tmp_path: Path) -> None:
    write_llama2c(tmp_path / "model.bin")
    train = {"recipe": "import", "base": "model.bin", "imported": {"digest": "sha256:" + "0" * 64}}
    assert "not the file that the spec means" in fault(tmp_path, train=train)


def test_rows_that_are_no_token_ids_are_one_line(tmp_path: Path) -> None:
    write_llama2c(tmp_path / "model.bin")
    write_jsonl(tmp_path / "rows.jsonl", [{"text": f"once upon a time {one}"} for one in range(9)])
    run_stage("data", ids_spec(), tmp_path, tmp_path / "data")
    run_stage("train", ids_spec(), tmp_path, tmp_path / "train", data=tmp_path / "data")
    with pytest.raises(GuidewayError, match="has no tokenizer: a text is token ids from 0 to 39"):
        run_stage("compress", ids_spec(), tmp_path, tmp_path / "out", data=tmp_path / "data", train=tmp_path / "train")


@pytest.mark.data
def test_a_released_llama_says_the_same_as_plain_arithmetic(tmp_path: Path) -> None:
    source = Path(os.environ["GUIDEWAY_TEST_DATA"]) / "model-stories260k" / "stories260K.bin"
    (tmp_path / "model.bin").write_bytes(source.read_bytes())
    imported(tmp_path)
    sizes = struct.unpack("<7i", source.read_bytes()[:28])
    width, hidden, layers, heads, keys, vocabulary, _ = sizes
    kv = keys * width // heads
    data, at, weights = np.frombuffer(source.read_bytes(), "<f4", offset=28), 0, {}
    for name, size in (
        ("embedding", (vocabulary, width)), ("att", (layers, width)), ("wq", (layers, width, width)),
        ("wk", (layers, kv, width)), ("wv", (layers, kv, width)), ("wo", (layers, width, width)),
        ("ffn", (layers, width)), ("w1", (layers, hidden, width)), ("w2", (layers, width, hidden)),
        ("w3", (layers, hidden, width)), ("final", (width,)),
    ):  # fmt: skip
        weights[name], at = data[at : at + int(np.prod(size))].reshape(size), at + int(np.prod(size))
    ids = [1]
    for _ in range(24):
        ids.append(int(forward(weights, heads, keys, ids)[-1].argmax()))
    model = Trained(tmp_path / "train")
    np.testing.assert_allclose(model.logits(ids), forward(weights, heads, keys, ids), rtol=1e-3, atol=2e-3)
    assert model.answers([[1]], 24, {511})[0] == ids[1:]
