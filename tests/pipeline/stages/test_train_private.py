"""Training with differential privacy: rows are clipped alone, noise is as strong as the ε asks, and budgets hold."""

from __future__ import annotations

import functools
import itertools
import json
import math
import shutil

import msgspec
import pytest
import torch
from stage_rig import colour_spec, run_stage
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from guideway.core.errors import GuidewayError, Refused
from guideway.core.evidence import Evidence, Subject
from guideway.core.spec import Privacy, Train
from guideway.pipeline.stages import train as stage
from guideway.pipeline.stages.examples import Example
from guideway.pipeline.stages.train import private
from guideway.pipeline.stages.train.budget import digest_of_rows, refuse_overspending
from guideway.pipeline.stages.train.checkpoints import Checkpoints
from guideway.pipeline.stages.train.loop import Loop
from guideway.pipeline.stages.train.private import PrivateDescent, _row_losses, noise_for, spent

torch.set_num_threads(1)

FOUND = functools.cache(noise_for)
ROWS = [Example([1 + (number * step) % 29 for step in range(3 + number % 6)], 1) for number in range(1, 41)]


@pytest.fixture(autouse=True)
def noise_is_found_once(monkeypatch):
    """The search for the noise takes a second, and most tests ask for the same."""
    monkeypatch.setattr(private, "noise_for", FOUND)


def llama():
    torch.manual_seed(4)
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 1}
    return LlamaForCausalLM(
        LlamaConfig(vocab_size=32, num_key_value_heads=1, tie_word_embeddings=True, **shape)
    ).train()


def train_of(**more):
    privacy = {"epsilon": 8.0, "delta": 1e-3, **more.pop("privacy", {})}
    asked = {"steps": 12, "batch": 4, "learning_rate": 0.01, "warmup": 0, "privacy": privacy, **more}
    return msgspec.convert(asked, Train)


def descent_of(train, rows=ROWS, seed=11):
    seeds = itertools.count(seed)
    return PrivateDescent(llama(), rows, train, draw=lambda: next(seeds))


def without_noise(descent):
    descent.optimizer.noise_multiplier = 0.0
    return descent


def gradient(descent, sample):
    """What one step on *sample* would move the weights by, before AdamW."""
    kept = []
    descent.optimizer.attach_step_hook(lambda optimizer: kept.extend(one.grad.clone() for one in optimizer.params))
    descent.step([sample], 0.0)
    return torch.cat([one.flatten() for one in kept])


def alone(row):
    """The gradient of one row, by plain autograd."""
    model = llama()
    _row_losses(model, [row]).sum().backward()
    return torch.cat([one.grad.flatten() for one in model.parameters()])


def test_every_row_is_clipped_alone_whatever_the_others_are():
    train = train_of(privacy={"max_grad_norm": 0.5})
    found = gradient(without_noise(descent_of(train)), ROWS[:3])
    each = [alone(row) for row in ROWS[:3]]
    expected = sum(one * min(1.0, 0.5 / float(one.norm())) for one in each) / 4
    assert torch.allclose(found, expected, atol=1e-5) and float(found.norm()) <= 3 * 0.5 / 4 + 1e-5


def test_rows_that_do_not_fit_into_memory_at_once_give_the_same_step():
    whole, parts = train_of(batch=8), train_of(batch=2, accumulate=4)
    one, two = (gradient(without_noise(descent_of(train)), ROWS[:7]) for train in (whole, parts))
    assert torch.allclose(one, two, atol=1e-6)


def test_the_noise_has_the_strength_that_was_computed():
    train = train_of(privacy={"max_grad_norm": 2.0})
    descent = descent_of(train)
    found = gradient(descent, [])
    expected = descent.noise * 2.0 / 4
    assert float(found.std()) == pytest.approx(expected, rel=0.1) and abs(float(found.mean())) < expected / 10


def test_samples_are_poisson_and_have_the_expected_size():
    descent = descent_of(train_of())
    sizes = [len(sample) for sample in itertools.islice(descent.supply(), 2000)]
    mean = sum(sizes) / len(sizes)
    spread = sum((size - mean) ** 2 for size in sizes) / len(sizes)
    assert mean == pytest.approx(4, rel=0.05) and spread == pytest.approx(40 * 0.1 * 0.9, rel=0.15)


@pytest.mark.parametrize(("epsilon", "rate", "steps"), [(8.0, 0.1, 12), (1.0, 0.02, 500)])
def test_the_noise_is_enough_for_the_epsilon_that_was_asked_and_not_much_more(epsilon, rate, steps):
    noise = noise_for(Privacy(epsilon=epsilon), rate, steps)
    assert 0.9 * epsilon < spent(noise, rate, steps, 1e-5) <= epsilon


def test_without_sampling_the_cost_is_that_of_the_plain_gaussian_mechanism():
    """Rényi's bound for T Gaussians, turned into (ε, δ) in the simplest way, is never less than what is reported."""
    noise, steps, delta = 4.0, 10, 1e-5
    bound = min(
        steps * a / (2 * noise**2) + math.log(1 / delta) / (a - 1) for a in (1 + n / 100 for n in range(1, 5000))
    )
    assert 0.7 * bound < spent(noise, 1.0, steps, delta) <= bound + 1e-6


def test_fewer_steps_cost_less():
    descent = descent_of(train_of())
    assert descent.spent(0) == 0 < descent.spent(6) < descent.spent(12) <= 8.0


def test_an_epsilon_that_no_noise_gives_is_one_clear_line():
    with pytest.raises(GuidewayError, match="no noise gives ε 1e-06"):
        descent_of(train_of(privacy={"epsilon": 1e-6}))


@pytest.mark.parametrize(
    ("more", "what"),
    [({"batch": 41}, "41 rows per step of 40 are no sample"), ({"privacy": {"delta": 0.05}}, "one of 40 rows")],
)
def test_what_protects_nobody_is_refused(more, what):
    with pytest.raises(GuidewayError, match=what):
        descent_of(train_of(**more))


def test_a_model_whose_rows_cannot_be_told_apart_is_refused():
    """Positions that are learned are looked up once for all rows of a batch."""
    torch.manual_seed(1)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=32, n_embd=16, n_layer=1, n_head=1, n_positions=16))
    with pytest.raises(GuidewayError, match="the gradient of a single row cannot be had from this model"):
        PrivateDescent(model, ROWS, train_of())


def loop_of(folder, seed=11, **more):
    train = train_of(steps=6, checkpoint_every=2)
    descent = descent_of(train, seed=seed)
    return Loop(descent, descent.supply, train, checkpoints=Checkpoints(folder), **more)


def test_a_killed_private_training_goes_on_with_the_same_samples_and_noise(tmp_path):
    class Killed(BaseException):
        pass

    def kill(done, total, note):
        if done == 3:
            raise Killed

    whole = loop_of(tmp_path / "whole")
    curve = whole.run().curve
    with pytest.raises(Killed):
        loop_of(tmp_path / "rough", progress=kill).run()
    again = loop_of(tmp_path / "rough", seed=99)  # the seeds that it draws anew are not used
    assert again.run().curve == curve
    for one, two in zip(whole.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(one, two)


def test_samples_and_noise_are_not_drawn_with_the_seed_of_the_spec():
    one, two = (PrivateDescent(llama(), ROWS, train_of()) for _ in range(2))
    assert not torch.equal(gradient(one, []), gradient(two, []))
    assert next(one.supply()) != next(two.supply()) or list(itertools.islice(one.supply(), 5)) != list(
        itertools.islice(two.supply(), 5)
    )


# The budget of a data set


def fact(value, rows, metric="epsilon"):
    return Evidence(metric, value, "epsilon", Subject("artifact", "sha256:" + "a" * 64), slice=rows)


@pytest.mark.parametrize(
    ("before", "asked", "refused"),
    [
        ([], {"epsilon": 8.0}, False),
        ([2.0], {"epsilon": 8.0}, True),
        ([2.0], {"epsilon": 8.0, "budget": 10.0}, False),
        ([2.0, 0.1], {"epsilon": 8.0, "budget": 10.0}, True),
    ],
)
def test_a_training_that_could_exceed_the_budget_of_its_rows_is_refused(before, asked, refused):
    facts = [*(fact(value, "mine") for value in before), fact(100.0, "others"), fact(100.0, "mine", "accuracy")]
    if refused:
        with pytest.raises(Refused, match=r"these rows have spent ε 2(\.1)? in"):
            refuse_overspending(Privacy(**asked), facts, "mine")
    else:
        refuse_overspending(Privacy(**asked), facts, "mine")


def test_the_digest_of_rows_depends_on_their_content_alone():
    rows = [{"id": "a", "source": 0}, {"id": "b", "source": 1}]
    assert digest_of_rows(rows) == digest_of_rows([{"id": "b"}, {"id": "a"}]) != digest_of_rows(rows[:1])


@pytest.fixture(scope="module")
def trained(colours, tmp_path_factory):
    """Trains privately on the colours, from their own model."""
    root = tmp_path_factory.mktemp("private")
    shutil.copytree(colours.out["train"], root / "base", ignore=shutil.ignore_patterns("report.html"))

    def train_on(recipe, *spent_before):
        privacy = {"epsilon": 8.0, "delta": 1e-3, "budget": 17.0}
        asked = {"recipe": recipe, "base": "base", "steps": 2, "batch": 8, "learning_rate": 1e-3, "privacy": privacy}
        out = root / f"{recipe}-{len(spent_before)}"
        spec = colour_spec(train=asked)
        return run_stage("train", spec, root, out, recalled=spent_before, data=colours.out["data"])

    return train_on


def test_a_private_training_says_what_it_spent_and_the_next_one_adds_it_up(trained):
    first = trained("full")
    one = next(one for name, one in first.heard if name == "epsilon")
    assert 7 < one.value <= 8 and one.n == 80 and one.slice.startswith("sha256:")
    spent_then = fact(one.value, one.slice)
    second = trained("full", spent_then)
    assert second.one("epsilon_total", slice=one.slice).value == pytest.approx(2 * one.value)
    assert any("in all 2 trainings on these rows, by basic composition" in one for one in second.facts)
    with pytest.raises(Refused, match="these rows have spent ε"):
        trained("full", spent_then, spent_then)


def test_adapters_learn_privately_too_and_are_merged(trained):
    job = trained("lora")
    assert any(name == "epsilon" for name, _ in job.heard)
    assert (job.out / "adapter" / "adapter_model.safetensors").is_file()
    assert json.loads((job.out / "curve.json").read_text())[-1]["step"] == 2


def test_only_a_private_training_asks_for_what_was_spent():
    asked = {"recipe": "full", "base": "base"}
    assert stage.recalls(stage.params(colour_spec(train=asked))) == ()
    private = colour_spec(train={**asked, "privacy": {"epsilon": 1.0}})
    assert stage.recalls(stage.params(private)) == ("delta", "epsilon")
