"""What vLLM serves: safetensors as trained, or compressed-tensors that llm-compressor made in an environment apart."""

from __future__ import annotations

import json
import re
import subprocess

import pytest
from safetensors import safe_open
from stage_rig import colour_spec, run_stage, spec_of

from guideway.core.errors import GuidewayError, SpecError
from guideway.core.spec import load
from guideway.pipeline.environment import interpreter_for
from guideway.pipeline.plan import environment_of
from guideway.pipeline.stages import compress, evaluate, package
from guideway.pipeline.stages.formats import check_precision, check_sizes, compressed_tensors, format_in, format_of

SHAPE = {"layers": 1, "hidden": 128, "heads": 2, "kv_heads": 1, "feed_forward": 256}


def vllm(precision, **parts):
    return colour_spec(serve={"engine": "vllm"}, compress={"precision": precision}, **parts)


def test_vllm_ships_what_compress_makes_for_it():
    spec = vllm("w8a8")
    assert format_of(spec).name == "compressed-tensors" and package.shipped(spec) == "compress"


@pytest.mark.parametrize(("precision", "apart"), [("fp32", False), ("bf16", False), ("w8a8", True), ("w4a16", True)])
def test_only_what_is_quantised_needs_an_environment_of_its_own(precision, apart):
    for stage in (compress, evaluate):
        assert environment_of(stage, vllm(precision)) == (compressed_tensors.environment if apart else None)


def test_every_line_of_the_lock_has_a_version_and_hashes_and_torch_is_ours():
    assert compressed_tensors.environment
    entries = compressed_tensors.environment.read_text(encoding="utf-8").split("\n\n")
    lines = [line for entry in entries for line in entry.splitlines() if line and not line.startswith("#")]
    names = [line.partition("==")[0] for line in lines if not line.startswith(" ")]
    assert all(re.fullmatch(r"[a-z0-9-]+==\S+ \\|    --hash=sha256:[0-9a-f]{64}( \\)?", line) for line in lines)
    assert "llmcompressor" in names and "torch" not in names


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_precisions_of_the_embedded_engine_are_refused_with_those_of_vllm(precision):
    with pytest.raises(SpecError, match=f"the engine vllm serves no {precision}.*w8a8, w4a16, fp8"):
        check_precision(vllm(precision))
    with pytest.raises(SpecError, match="the engine onnx serves no w4a16"):
        check_precision(colour_spec(compress={"precision": "w4a16"}))


@pytest.mark.parametrize("line", ["precision: auto", "precision: w8a8\n  prune: {share: 0.5}"])
def test_nothing_that_must_race_is_asked_of_vllm(tmp_path, line):
    (tmp_path / "rows.jsonl").write_text("")
    file = tmp_path / "guideway.yaml"
    file.write_text(
        "guideway: 1\nname: x\ndata: {sources: [{path: rows.jsonl}]}\nserve: {engine: vllm}\ncompress:\n  "
        + line
        + "\n"
    )
    with pytest.raises(SpecError, match="vllm cannot race here"):
        load(file)


@pytest.mark.parametrize(
    ("precision", "hidden", "feed_forward", "refused"),
    [
        ("w4a16", 256, 512, None),
        ("w4a16", 64, 512, 64),
        ("w4a16", 256, 704, 704),
        ("w8a8", 64, 704, None),
        ("fp8", 64, 100, 100),
        ("bf16", 62, 99, None),
    ],
)
def test_sizes_that_a_precision_cannot_have_are_refused_before_anything_runs(
    tmp_path, precision, hidden, feed_forward, refused
):
    shape = SHAPE | {"hidden": hidden, "feed_forward": feed_forward}
    spec = vllm(precision, train={"architecture": shape})
    if refused is None:
        check_sizes(spec, tmp_path)
        return
    with pytest.raises(
        SpecError, match=f"{precision} needs sizes that are multiples of .*, and this model has one of {refused}"
    ):
        check_sizes(spec, tmp_path)


def test_the_sizes_of_a_base_are_those_that_count(tmp_path):
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "config.json").write_text(
        '{"hidden_size": 256, "num_attention_heads": 3, "head_dim": 64, "intermediate_size": 512}'
    )
    spec = vllm("w4a16", train={"recipe": "full", "base": "base"})
    with pytest.raises(SpecError, match="one of 192"):
        check_sizes(spec, tmp_path)


def test_other_engines_take_models_of_any_size(tmp_path):
    check_sizes(spec_of(train={"architecture": SHAPE | {"hidden": 62}}), tmp_path)


@pytest.fixture(scope="module")
def bf16(colours, tmp_path_factory):
    """The stage, run for vLLM in bfloat16."""
    out = tmp_path_factory.mktemp("bf16") / "out"
    inputs = {need: colours.out[need] for need in compress.needs}
    return run_stage("compress", vllm("bf16"), colours.root, out, **inputs)


def test_bfloat16_is_half_as_large_and_little_away(bf16, colours):
    assert format_in(bf16.out) is not None and format_in(bf16.out).name == "compressed-tensors"
    assert json.loads((bf16.out / "precision.json").read_text()) == {"dtype": "bfloat16", "precision": "bf16"}
    whole = sum(path.stat().st_size for path in colours.out["train"].glob("*.safetensors"))
    assert bf16.one("model_bytes").value == pytest.approx(whole / 2, rel=0.05)
    assert 0 < bf16.one("kl_to_source").value < 0.01
    assert (bf16.out / "tokenizer.json").read_bytes() == (colours.out["train"] / "tokenizer.json").read_bytes()


def test_two_exports_are_the_same_bytes(bf16, colours, tmp_path):
    compressed_tensors.calibrated(colours.out["train"], tmp_path, "bf16", colours.out["data"])
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        path.name: path.read_bytes() for path in bf16.out.iterdir()
    }


def test_a_model_whose_sizes_do_not_go_is_refused_where_the_spec_could_not_tell(colours, tmp_path):
    with pytest.raises(
        GuidewayError, match="w4a16 needs sizes that are multiples of 128, and this model has one of 64"
    ):
        compressed_tensors.calibrated(colours.out["train"], tmp_path, "w4a16", colours.out["data"])


QUANTISE = """
import sys
from pathlib import Path
from guideway.pipeline.stages.formats import compressed_tensors
from guideway.pipeline.stages.formats import open_scorer
source, out, data, precision = map(Path, sys.argv[1:])
compressed_tensors.calibrated(source, out, str(precision), data)
print(open_scorer(out, 1).logits([1, 2, 3]).shape)
"""


@pytest.mark.thorough
@pytest.mark.parametrize(("precision", "kind"), [("w8a8", "I8"), ("fp8", "F8_E4M3")])
def test_llm_compressor_makes_it_in_the_locked_environment(colours, tmp_path, environment, precision, kind):
    out = tmp_path / "out"
    folders = (colours.out["train"], out, colours.out["data"], precision)
    made = subprocess.run(
        [environment, "-P", "-c", QUANTISE, *map(str, folders)],
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert made.returncode == 0, made.stderr[-2000:]
    assert made.stdout.splitlines()[-1].startswith("(3, ")
    with safe_open(out / "model.safetensors", "pt") as file:
        kinds = {file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118 - it is no dict
    assert kind in kinds
    said = json.loads((out / "precision.json").read_text())
    assert said["precision"] == precision and said["made_by"].startswith("llmcompressor ")


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """The interpreter with what the lock names, installed anew."""
    folder = tmp_path_factory.mktemp("environments")
    assert compressed_tensors.environment
    return str(interpreter_for(compressed_tensors.environment, folder, folder / "log"))
