"""Pruning: what matters least goes, shapes and config agree, and what is left is measured like any other export."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from stage_rig import FakeJob, colour_spec, run_stage
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

from guideway.core.errors import GuidewayError
from guideway.core.spec import Architecture
from guideway.pipeline import stages
from guideway.pipeline.stages.compress.channels import cut
from guideway.pipeline.stages.compress.distance import compare, held_out
from guideway.pipeline.stages.compress.prune import prune
from guideway.pipeline.stages.compress.zeros import Zeros, set_zeros
from guideway.pipeline.stages.examples import Example, Voice
from guideway.pipeline.stages.models import Compressed, Trained
from guideway.pipeline.stages.train.start import make_model

READ = [Example([5, 9, 70, 71, 30, 12, 4, number], 1) for number in range(8)]


def small(*, heads=4, kv_heads=2):
    """A random model with two layers of 64 channels, and 128 in the feed-forward layers."""
    shape = Architecture(
        layers=2, hidden=64, heads=heads, kv_heads=kv_heads, feed_forward=128, vocabulary=300, context=32
    )
    return make_model(shape, 100, 0, 7).eval()


def reloaded(model, folder):
    model.save_pretrained(folder)
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


@torch.no_grad()
def logits(model):
    return model(torch.tensor([READ[3].ids])).logits.numpy()


@torch.no_grad()
def silence(linears, columns):
    """Make the inputs *columns* of *linears* add nothing to the output."""
    for linear in linears:
        linear.weight[:, columns] = 0.0


def head(number, size=16):
    return list(range(number * size, (number + 1) * size))


def test_channels_that_add_nothing_are_the_ones_that_go(tmp_path):
    model = small()
    silence([layer.mlp.down_proj for layer in model.model.layers], list(range(0, 128, 2)))
    before = logits(model)
    cut(model, "mlp", 0.5, READ)
    after = reloaded(model, tmp_path)
    assert after.config.intermediate_size == 64 and after.model.layers[1].mlp.up_proj.weight.shape == (64, 64)
    assert np.allclose(before, logits(after), atol=1e-5)


def test_a_channel_that_training_rows_never_use_goes_before_one_with_smaller_weights():
    model = small()
    for layer in model.model.layers:
        with torch.no_grad():
            layer.mlp.up_proj.weight[:64] = 0.0  # these channels are always zero,
            layer.mlp.down_proj.weight[:, :64] *= 100  # however large the weights are that wait for them
    kept = model.model.layers[0].mlp.up_proj.weight[64:].clone()
    cut(model, "mlp", 0.5, READ)
    assert torch.equal(model.model.layers[0].mlp.up_proj.weight, kept)


def test_heads_go_in_whole_groups(tmp_path):
    model = small(heads=4, kv_heads=2)
    silence([layer.self_attn.o_proj for layer in model.model.layers], [*head(0), *head(1)])
    before = logits(model)
    cut(model, "heads", 0.5, READ)
    after = reloaded(model, tmp_path)
    config = after.config
    assert (config.num_attention_heads, config.num_key_value_heads, config.head_dim) == (2, 1, 16)
    assert after.model.layers[0].self_attn.k_proj.weight.shape == (16, 64)
    assert np.allclose(before, logits(after), atol=1e-5)


def test_where_a_group_is_more_than_the_share_every_group_loses_heads_of_queries(tmp_path):
    model = small(heads=4, kv_heads=1)
    silence([layer.self_attn.o_proj for layer in model.model.layers], [*head(1), *head(3)])
    before = logits(model)
    cut(model, "heads", 0.5, READ)
    after = reloaded(model, tmp_path)
    assert (after.config.num_attention_heads, after.config.num_key_value_heads) == (2, 1)
    assert np.allclose(before, logits(after), atol=1e-5)


@pytest.mark.parametrize(
    ("what", "share", "said"),
    [
        ("mlp", 0.1, "10% of 128 channels cannot be cut"),
        ("heads", 0.1, "10% of 4 heads in 1 groups cannot be cut: that is none of them, or all"),
        ("heads", 0.25, "25% of 4 heads in 1 groups cannot be cut: .* not a multiple of the number of attention heads"),
    ],
)
def test_a_share_that_comes_to_nothing_possible_is_one_clear_line(what, share, said):
    with pytest.raises(GuidewayError, match=said) as refused:
        cut(small(heads=4, kv_heads=1), what, share, READ)
    assert "\n" not in str(refused.value)


def test_a_model_that_is_built_in_another_way_is_refused():
    model = GPT2LMHeadModel(GPT2Config(n_embd=16, n_layer=1, n_head=1, vocab_size=10, n_positions=8))
    with pytest.raises(GuidewayError, match="a GPT2LMHeadModel cannot be pruned"):
        set_zeros(model, "mlp", 0.5)


def test_the_smallest_weights_of_every_matrix_become_zero_and_stay_so():
    model = small()
    set_zeros(model, "heads", 0.25)
    weight = model.model.layers[0].self_attn.q_proj.weight
    assert (weight == 0).float().mean() == pytest.approx(0.25, abs=0.001)
    assert weight[weight != 0].abs().min() > 0 and not (model.model.layers[0].mlp.up_proj.weight == 0).any()
    zeros, places = Zeros(model, "heads"), weight == 0
    with torch.no_grad():
        weight += 1.0
    zeros.restore()
    assert torch.equal(weight == 0, places)


def pruned(colours, out, **prune):
    spec = colour_spec(compress={"precision": "int8", "prune": prune, "max_kl": 0.5, "max_flips": 0.5})
    return run_stage("compress", spec, colours.root, out, data=colours.out["data"], train=colours.out["train"])


def test_a_pruned_model_ships_is_smaller_and_is_measured_beside_what_it_came_from(colours, tmp_path):
    job = pruned(colours, tmp_path / "out", share=0.5)
    sizes = {name: job.one("candidate_model_bytes", "train", name).value for name in ("int8", "int8 pruned")}
    assert job.one("model_bytes").value == sizes["int8 pruned"] < 0.95 * sizes["int8"]
    assert 0.2 < job.one("weights_pruned").value < 0.3
    assert job.one("kl_to_source").value > job.one("candidate_kl_to_source", "train", "int8").value
    saved = job.one("candidate_time_saved", "train", "int8 pruned")
    assert saved.interval.low <= saved.value <= saved.interval.high
    report = json.loads((job.out / "report.json").read_text())
    assert report["chosen"] == {"precision": "int8", "pruned": True}
    assert Compressed(job.out).logits([5, 9, 70]).shape[0] == 3


def test_zeros_are_measured_honestly(colours, tmp_path):
    job = pruned(colours, tmp_path / "out", method="magnitude", share=0.5)
    packed = [job.one("candidate_packed_bytes", "train", name).value for name in ("int8", "int8 pruned")]
    sizes = [job.one("candidate_model_bytes", "train", name).value for name in ("int8", "int8 pruned")]
    assert packed[1] < packed[0] and sizes[1] == sizes[0]
    assert "dense kernels compute them like any other number" in (job.out / "report.md").read_text()


@pytest.fixture
def recovered(colours, tmp_path):
    """Prunes half of the feed-forward layers by a method, recovers, and gives the share gone and the divergence."""
    inputs = {"data": colours.out["data"], "train": colours.out["train"]}
    trained, voice = Trained(inputs["train"]), Voice(inputs["train"])

    def run(method, steps):
        asked = {"method": method, "share": 0.5, "recover_steps": steps}
        params = stages.compress.params(colour_spec(compress={"prune": asked}))
        out = tmp_path / str(steps)
        gone = prune(FakeJob(dict(params), inputs, tmp_path, tmp_path / f"job{steps}"), out)
        return gone, compare(trained, Trained(out), held_out(inputs["data"], voice, 64), lambda _: None).kl

    return run


def test_recovery_comes_nearer_to_the_trained_model(recovered):
    assert recovered("structured", 40)[1] < 0.7 * recovered("structured", 0)[1]


def test_recovery_keeps_the_zeros_and_moves_the_rest(recovered):
    (gone, kl), (gone_after, kl_after) = recovered("magnitude", 0), recovered("magnitude", 3)
    assert gone_after == pytest.approx(gone, abs=1e-3) and kl_after != kl
