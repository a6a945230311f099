"""Recipe qlora: adapters learn on a base in four bits, and what ships is the whole base with the adapters in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from stage_rig import FakeJob, colour_spec, run_stage
from transformers import AutoModelForCausalLM

from guideway.pipeline.needs import FOUR_BITS
from guideway.pipeline.shapes import base_shape
from guideway.pipeline.stages import train
from guideway.pipeline.stages.examples import Voice
from guideway.pipeline.stages.train import language
from guideway.pipeline.stages.train.rows import Rows

pytestmark = pytest.mark.usefixtures("four_bits")

SHORT = {"recipe": "qlora", "base": "base", "steps": 30, "batch": 8, "learning_rate": 1e-2, "lora": {"rank": 4}}
QUANTISED = 14
"""Matrices between the first and the last layer of the model of the colours: seven in each of two layers."""


def weights_of(folder):
    return {name: one for path in folder.glob("*.safetensors") for name, one in load_file(path).items()}


def bytes_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def root(colours, tmp_path_factory):
    """A folder of a spec, with a model as its base that has learned a little of the colours."""
    root = tmp_path_factory.mktemp("four-bits")
    asked = {**dict(train.params(colours.spec)), "steps": 40}
    run_stage("train", colour_spec(train=asked), root, root / "base", data=colours.out["data"])
    (root / "base" / "report.html").unlink()
    return root


def learned(colours, root, name, **asked):
    return run_stage("train", colour_spec(train={**SHORT, **asked}), root, root / name, data=colours.out["data"])


@pytest.fixture(scope="module")
def four(colours, root):
    return learned(colours, root, "four")


@pytest.fixture
def held(root):
    """The base in four bits."""
    from guideway.pipeline.stages.train.four_bits import load_in_four_bits

    return load_in_four_bits(root / "base", "fp32")[0]


def frozen_in(model):
    """The four-bit weights of *model*, and the scales of their blocks, by layer."""
    layers = {name: one for name, one in model.named_modules() if type(one).__name__ == "Linear4bit"}
    return {name: (one.weight.data.clone(), one.weight.quant_state.absmax.clone()) for name, one in layers.items()}


def test_only_the_matrices_between_the_ends_are_in_four_bits_and_they_are_small(held, root):
    frozen = frozen_in(held)
    assert len(frozen) == QUANTISED and all("_proj" in name for name in frozen)
    shape = base_shape(root / "base", 64)
    assert 2 * sum(codes.numel() for codes, _ in frozen.values()) == shape.matrices
    scales = sum(len(scales) for _, scales in frozen.values())
    assert shape.matrices * (FOUR_BITS - 0.5) == pytest.approx(scales, rel=0.1)
    assert held.get_input_embeddings().weight.dtype == held.model.norm.weight.dtype == torch.float32


def test_a_validation_leaves_the_base_as_it_is(held):
    before = frozen_in(held)
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        held.eval()(ids)
    after = frozen_in(held)
    assert all(torch.equal(*pair) for name in before for pair in zip(before[name], after[name], strict=True))


FETCHING = "import os\ndef get_kernel(*asked, **more):\n    open(os.environ['FETCHED'], 'w').close()\n"
ADAPTED = """
import os, sys
from pathlib import Path
import msgspec
from guideway.core.spec import Train
from guideway.pipeline.stages.train import recipes
train = msgspec.convert({"recipe": "lora", "base": "base"}, Train)
recipes.Adapted(*recipes.load_base(Path(sys.argv[1])), train)
import bitsandbytes, kernels, peft
assert os.environ["BNB_DISABLE_TELEMETRY"] == "1" and kernels.get_kernel
"""


@pytest.mark.parametrize("before", ["", "import kernels"])
def test_no_adapter_makes_bitsandbytes_fetch_code_or_report_to_anybody(root, tmp_path, before):
    (tmp_path / "kernels.py").write_text(FETCHING)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "FETCHED": str(tmp_path / "fetched")}
    argv = [sys.executable, "-c", before + ADAPTED, str(root / "base")]
    told = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    assert not (tmp_path / "fetched").exists() and "kernels-community" not in told.stderr


def test_what_ships_is_the_whole_base_with_what_the_adapter_adds(four, root):
    before, after = weights_of(root / "base"), weights_of(four.out)
    assert before.keys() == after.keys() and {one.dtype for one in after.values()} == {torch.float32}
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if "_proj" in name}
    for name in changed:  # were the rounding of four bits in it, its rank would be full
        sizes = torch.linalg.svdvals(after[name] - before[name])
        assert sizes[4] < 1e-4 * sizes[0]
    assert "quantization_config" not in json.loads((four.out / "config.json").read_text())


def test_whole_base_and_adapter_together_are_what_ships(four, root):
    whole = AutoModelForCausalLM.from_pretrained(root / "base")
    together, ids = PeftModel.from_pretrained(whole, four.out / "adapter"), torch.tensor([[5, 6, 7, 8]])
    merged = AutoModelForCausalLM.from_pretrained(four.out)
    with torch.no_grad():
        assert torch.allclose(together(ids).logits, merged(ids).logits, atol=1e-4)


def test_the_loss_that_is_reported_is_that_of_what_ships(four, colours):
    spec = colour_spec(train=SHORT)
    voice = Voice(four.out)
    rows = Rows(colours.out["data"], spec.train).held
    examples = [voice.example(row) for row in rows]
    found = language.validation_of(
        language.row_losses(AutoModelForCausalLM.from_pretrained(four.out).eval(), examples, 8)
    )
    said = four.one("validation_loss", slice="validation")
    assert (said.value, said.n) == (pytest.approx(found.loss, abs=1e-5), len(rows))
    page = (four.out / "report.html").read_text()
    assert "Validation loss, merged" in page and f"{said.value:.4f}" in page


def test_how_far_merging_moved_the_loss_is_evidence_with_an_interval(four):
    gap, said = (four.one(metric, slice="validation") for metric in ("merge_gap", "validation_loss"))
    last = json.loads((four.out / "curve.json").read_text())[-1]["validation"]["loss"]
    assert gap.value == pytest.approx(said.value - last, abs=1e-5) and gap.value != 0
    assert gap.interval.low <= gap.value <= gap.interval.high and gap.n == said.n
    assert any(one.startswith("merged, the loss on held-out rows is") for one in four.facts)


def test_it_learns(four):
    curve = json.loads((four.out / "curve.json").read_text())
    assert curve[-1]["validation"]["loss"] < curve[0]["loss"] - 0.05


def test_the_weights_that_stayed_are_counted_whole(four, root):
    size = sum(one.numel() for one in weights_of(root / "base").values())
    assert any(one.endswith(f"{size:,} stayed") for one in four.facts)


def test_it_gives_the_same_bytes_every_time_and_says_nothing_of_this_machine(four, colours, root):
    again = learned(colours, root, "four-2")
    assert bytes_of(again.out) == bytes_of(four.out)
    assert not any(str(root).encode() in data for data in bytes_of(four.out).values())


class Dies(FakeJob):
    """A job whose process is killed in step 20."""

    def progress(self, done, total, note=""):
        if done >= 20:
            raise KeyboardInterrupt


def test_one_that_was_killed_goes_on_and_ends_with_the_same_bytes(four, colours, root, tmp_path):
    inputs = {"data": colours.out["data"]}
    asked = dict(train.params(colour_spec(train=SHORT)))
    with pytest.raises(KeyboardInterrupt):
        train.run(killed := Dies(asked, inputs, root, tmp_path / "killed"))
    again = FakeJob(asked, inputs, root, tmp_path / "again")
    again.resume = killed.resume
    train.run(again)
    assert any(one.startswith("went on from the checkpoint at step") for one in again.facts)
    assert bytes_of(again.out) == bytes_of(four.out)


def test_two_processes_learn_what_one_learns(four, colours, root):
    two = learned(colours, root, "two", processes=2)
    one, other = (json.loads((job.out / "curve.json").read_text()) for job in (four, two))
    assert [point["loss"] for point in other] == pytest.approx([point["loss"] for point in one], abs=1e-4)
    assert two.one("validation_loss", slice="validation").value == pytest.approx(
        four.one("validation_loss", slice="validation").value, abs=1e-3
    )


def test_in_bf16_and_with_patience_the_best_weights_are_merged(colours, root):
    job = learned(colours, root, "patient", precision="bf16", patience=1, learning_rate=0.3, steps=40)
    assert json.loads((job.out / "curve.json").read_text())[-1]["step"] < 40
    assert any("were kept" in one for one in job.facts) and abs(job.one("merge_gap", slice="validation").value) < 1


def test_without_rows_held_out_nothing_is_said_of_merging(colours, root):
    job = learned(colours, root, "unheld", steps=5, validation={"share": 0})
    assert not [name for name, _ in job.heard if name in ("merge_gap", "validation_loss")]
