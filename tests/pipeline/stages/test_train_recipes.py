"""Recipes lora and distill: what learns, what is kept, and what is said of it."""

from __future__ import annotations

import json
import shutil

import msgspec
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from stage_rig import colour_spec, run_stage
from transformers import AutoModelForCausalLM

from guideway.core.errors import GuidewayError, SpecError
from guideway.core.spec import Distill
from guideway.pipeline.stages import train
from guideway.pipeline.stages.train.recipes import distance

SMALLER = {"layers": 1, "hidden": 32, "heads": 1, "kv_heads": 1, "feed_forward": 64, "context": 64}


def weights_of(folder):
    return {name: one for path in folder.glob("*.safetensors") for name, one in load_file(path).items()}


@pytest.fixture(scope="module")
def root(colours, tmp_path_factory):
    """A folder of a spec, with the trained model of the colours as its base."""
    root = tmp_path_factory.mktemp("recipes")
    shutil.copytree(colours.out["train"], root / "base", ignore=shutil.ignore_patterns("report.html"))
    return root


def learned(colours, root, name, **asked):
    spec = colour_spec(train={"steps": 30, "batch": 8, "learning_rate": 1e-2, **asked})
    return run_stage("train", spec, root, root / name, data=colours.out["data"])


@pytest.fixture(scope="module")
def lora(colours, root):
    return learned(colours, root, "lora", recipe="lora", base="base", lora={"rank": 4, "dropout": 0.1})


def test_an_adapter_is_merged_and_all_that_comes_after_sees_a_plain_model(lora, root):
    before, after = weights_of(root / "base"), weights_of(lora.out)
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if "_proj" in name}


def test_base_and_adapter_together_are_the_merged_model(lora, root):
    base = AutoModelForCausalLM.from_pretrained(root / "base")
    together, ids = PeftModel.from_pretrained(base, lora.out / "adapter"), torch.tensor([[5, 6, 7, 8]])
    merged = AutoModelForCausalLM.from_pretrained(lora.out)
    with torch.no_grad():
        assert torch.allclose(together(ids).logits, merged(ids).logits, atol=1e-4)


def test_the_adapter_is_small_and_says_nothing_of_this_machine(lora, root):
    adapter = lora.out / "adapter"
    assert {path.name for path in adapter.iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}
    config = json.loads((adapter / "adapter_config.json").read_text())
    assert (config["base_model_name_or_path"], config["r"]) == ("base", 4)
    for path in lora.out.rglob("*"):
        assert path.is_dir() or str(root).encode() not in path.read_bytes()


def test_adapters_give_the_same_bytes_every_time(lora, colours, root):
    again = learned(colours, root, "lora-2", recipe="lora", base="base", lora={"rank": 4, "dropout": 0.1})
    one, two = ({p.name: p.read_bytes() for p in job.out.rglob("*") if p.is_file()} for job in (lora, again))
    assert one == two


def test_only_the_layers_that_are_named_learn(colours, root):
    job = learned(colours, root, "named", recipe="lora", base="base", lora={"targets": ["q_proj"]}, steps=5)
    before, after = weights_of(root / "base"), weights_of(job.out)
    assert all("q_proj" in name for name in before if not torch.equal(before[name], after[name]))


@pytest.mark.parametrize(
    ("target", "what"),
    [("nosuch", "nosuch"), ("lm_head", "share their weights"), ("embed_tokens", "share their weights")],
)
def test_a_target_that_cannot_learn_is_one_clear_line(colours, root, target, what):
    with pytest.raises(GuidewayError, match=what) as refused:
        learned(colours, root, target, recipe="lora", base="base", lora={"targets": [target]})
    assert refused.value.where == "train.lora.targets"


@pytest.fixture(scope="module")
def distilled(colours, root):
    return learned(
        colours, root, "distilled", recipe="distill", teacher="base", architecture=SMALLER, steps=120,
        validation={"split": "unseen"},
    )  # fmt: skip


def test_a_student_is_smaller_and_speaks_with_the_tokens_of_its_teacher(distilled, root):
    sizes = [sum(one.numel() for one in weights_of(folder).values()) for folder in (distilled.out, root / "base")]
    fact = distilled.one("size_ratio")
    assert fact.value == pytest.approx(sizes[0] / sizes[1]) and fact.n == sizes[1] and fact.value < 0.5
    assert (distilled.out / "tokenizer.json").read_bytes() == (root / "base" / "tokenizer.json").read_bytes()


def test_the_losses_of_both_and_the_gap_between_them_are_evidence(distilled):
    own, theirs, gap = (
        distilled.one(metric, slice="unseen") for metric in ("validation_loss", "teacher_loss", "distillation_gap")
    )
    assert gap.value == pytest.approx(own.value - theirs.value, abs=1e-4)
    assert gap.interval.low <= gap.value <= gap.interval.high and theirs.n == gap.n == 12


def test_a_student_learns(distilled):
    curve = json.loads((distilled.out / "curve.json").read_text())
    assert curve[-1]["validation"]["loss"] < curve[0]["loss"] / 2


def test_a_student_that_says_what_its_teacher_says_is_at_no_distance():
    logits, targets = torch.randn(5, 7), torch.tensor([1, 2, 3, 4, 5])
    assert float(distance(logits, logits, targets, Distill(weight=1.0))) == pytest.approx(0, abs=1e-5)


def test_without_weight_on_the_teacher_it_is_plain_cross_entropy():
    logits, taught, targets = torch.randn(5, 7), torch.randn(5, 7), torch.tensor([1, 2, 3, 4, 5])
    plain = torch.nn.functional.cross_entropy(logits, targets, reduction="sum")
    assert float(distance(logits, taught, targets, Distill(weight=0.0))) == pytest.approx(float(plain))


def test_the_distance_is_the_divergence_of_what_they_find_likely():
    logits, taught = torch.randn(4, 6, dtype=torch.float64), torch.randn(4, 6, dtype=torch.float64)
    own, theirs = (torch.softmax(one / 3, dim=-1) for one in (logits, taught))
    expected = 9 * float((theirs * (theirs / own).log()).sum())
    found = distance(logits, taught, torch.zeros(4, dtype=torch.long), Distill(temperature=3.0, weight=1.0))
    assert float(found) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("asked", "what"),
    [
        ({"recipe": "lora"}, "recipe 'lora' needs a base"),
        ({"recipe": "distill"}, "recipe 'distill' needs a base"),
        ({"recipe": "distill", "teacher": "nowhere"}, "there is no folder 'nowhere'"),
    ],
)
def test_a_recipe_without_its_model_is_refused_before_any_work(tmp_path, asked, what):
    with pytest.raises(SpecError, match=what):
        train.sources(colour_spec(train=asked), tmp_path)


def test_the_files_of_the_teacher_are_sources(root):
    found = train.sources(colour_spec(train={"recipe": "distill", "teacher": "base"}), root)
    assert root / "base" / "config.json" in found
    assert msgspec.to_builtins(Distill()) == {"temperature": 2.0, "weight": 0.5}
