"""The loop of a training, with a model that is no language model: what stops it, what it keeps, what it says."""

from __future__ import annotations

import itertools
import math

import msgspec
import pytest
import torch

from guideway.core.errors import GuidewayError
from guideway.core.spec import Train
from guideway.pipeline.stages.train.checkpoints import KEPT, Checkpoints
from guideway.pipeline.stages.train.descent import CLIP, Descent
from guideway.pipeline.stages.train.loop import Loop, Validation

torch.set_num_threads(1)


class Line(torch.nn.Module):
    """Learns a slope, with dropout, so that what it learns depends on the random numbers drawn."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.inner = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Dropout(0.3), torch.nn.Linear(8, 1))

    def forward(self, x):
        return self.inner(x)


def supply():
    """Batches of different sizes, the same ones every time."""
    draw = torch.Generator().manual_seed(3)
    for number in itertools.count():
        x = torch.randn(2 + number % 3, 4, generator=draw)
        yield x, x.sum(dim=1, keepdim=True)


def loss_of(model):
    def loss(batch):
        x, y = batch
        return ((model(x) - y) ** 2).sum(), len(x)

    return loss


def train_of(**parts):
    return msgspec.convert({"steps": 40, "learning_rate": 0.05, "warmup": 5, **parts}, Train)


def loop_of(train, folder=None, model=None, **more):
    model = model or Line()
    checkpoints = Checkpoints(folder) if folder else None
    return Loop(Descent(model, loss_of(model), train), supply, train, checkpoints=checkpoints, **more)


def weights(loop):
    return {name: tensor.clone() for name, tensor in loop.model.state_dict().items()}


def same(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


class Killed(BaseException):
    """Stands for a signal: nothing in the loop handles it."""


def killed_at(step, folder, train, **more):
    """A training that dies when it has said that *step* is done."""

    def progress(done, total, note):
        if done >= step:
            raise Killed

    with pytest.raises(Killed):
        loop_of(train, folder, progress=progress, **more).run()


def falling(losses):
    """A validation that finds *losses*, one after the other."""
    found = iter(losses)
    return lambda: Validation(next(found), 0.1, 10)


def test_it_learns_and_its_curve_falls():
    loop = loop_of(train_of(steps=200))
    learned = loop.run()
    assert learned.curve[-1].loss < learned.curve[0].loss / 2
    assert [learned.step, learned.kept, learned.resumed] == [200, 200, 0]


@pytest.mark.parametrize("step", [1, 9, 10, 11, 25, 39])
def test_a_killed_training_ends_with_the_very_weights_of_an_undisturbed_one(tmp_path, step):
    train = train_of(checkpoint_every=10)
    whole = loop_of(train)
    undisturbed = whole.run()
    killed_at(step, tmp_path, train)
    again = loop_of(train, tmp_path)
    learned = again.run()
    assert same(weights(whole), weights(again))
    assert learned.curve == undisturbed.curve
    assert learned.resumed == (step - 1) // 10 * 10


def test_a_training_that_is_killed_again_and_again_still_ends_the_same(tmp_path):
    train = train_of(checkpoint_every=4, accumulate=2)
    whole = loop_of(train)
    whole.run()
    for step in (6, 11, 22, 38):
        killed_at(step, tmp_path, train)
    again = loop_of(train, tmp_path)
    assert again.run().resumed == 36 and same(weights(whole), weights(again))


def test_the_best_weights_outlive_a_kill(tmp_path):
    losses = [5.0, 1.0, 3.0, 4.0]
    train = train_of(validate_every=10, checkpoint_every=10, patience=9)
    whole = loop_of(train, validate=falling(losses))
    assert whole.run().kept == 20
    killed_at(31, tmp_path, train, validate=falling(losses))
    again = loop_of(train, tmp_path, validate=falling(losses[3:]))
    learned = again.run()
    assert (learned.resumed, learned.kept) == (30, 20) and same(weights(whole), weights(again))


def test_patience_ends_it_and_keeps_the_best_weights():
    train = train_of(validate_every=5, patience=2)
    seen = []
    loop = loop_of(train)

    def validate():
        seen.append(weights(loop))
        return Validation([3.0, 1.0, 2.0, 2.0, 0.0][len(seen) - 1], 0.1, 10)

    loop.validate = validate
    learned = loop.run()
    assert (learned.step, learned.kept) == (20, 10) and same(weights(loop), seen[1])
    assert learned.validation == Validation(1.0, 0.1, 10)


def test_without_patience_the_last_weights_are_kept():
    learned = loop_of(train_of(validate_every=10), validate=falling([1.0, 2.0, 3.0, 4.0])).run()
    assert (learned.step, learned.kept, learned.validation.loss) == (40, 40, 4.0)


def test_it_validates_as_often_as_it_is_asked_and_at_the_end():
    learned = loop_of(train_of(validate_every=15), validate=falling([3.0, 2.0, 1.0])).run()
    assert [point.step for point in learned.curve if point.validation] == [15, 30, 40]


def test_a_validation_sees_a_model_without_dropout_and_changes_nothing():
    loop = loop_of(train_of())
    modes = []

    def validate():
        modes.append(loop.model.training)
        return Validation(1.0, None, 1)

    loop.validate = validate
    loop.run()
    plain = loop_of(train_of())
    plain.run()
    assert modes == [False] * 10 and same(weights(loop), weights(plain))


def test_accumulated_batches_are_one_large_batch():
    """The mean is over all parts, not over the means of batches that differ in size."""

    def merged():
        batches = supply()
        while True:
            four = [next(batches) for _ in range(4)]
            yield tuple(torch.cat(parts) for parts in zip(*four, strict=True))

    def no_dropout():
        model = Line()
        model.inner[1].p = 0.0
        return model

    small, large = loop_of(train_of(accumulate=4), model=no_dropout()), loop_of(train_of(), model=no_dropout())
    large.supply = merged
    small.run(), large.run()
    for name, tensor in weights(small).items():
        assert torch.allclose(tensor, weights(large)[name], atol=1e-5)


def test_a_step_is_never_longer_than_the_clip_allows():
    model = torch.nn.Linear(4, 1)
    descent = Descent(model, lambda batch: (model(batch).sum() * 1e6, 1), train_of())
    descent.step([torch.ones(1, 4)], 0.1)
    norm = math.sqrt(sum(float((weight.grad**2).sum()) for weight in model.parameters()))
    assert norm == pytest.approx(CLIP, rel=1e-3)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_no_number_is_one_clear_line(bad):
    model = Line()
    descent = Descent(model, lambda batch: (model(batch[0]).sum() * bad, 1), train_of())
    with pytest.raises(GuidewayError, match=rf"the loss became -?{bad} at step 1"):
        Loop(descent, supply, train_of()).run()


def test_a_validation_that_is_no_number_is_one_clear_line():
    with pytest.raises(GuidewayError, match="the loss became nan at step 4"):
        loop_of(train_of(), validate=falling([math.nan])).run()


def test_weights_that_do_not_learn_stay_and_are_in_no_checkpoint(tmp_path):
    model = Line()
    model.inner[0].requires_grad_(False)
    before = model.inner[0].weight.clone()
    loop = loop_of(train_of(checkpoint_every=10), tmp_path, model=model)
    loop.run()
    assert torch.equal(before, model.inner[0].weight)
    assert not any("inner.0" in name for name in Checkpoints(tmp_path).newest().tensors)


def test_it_says_its_loss_its_validation_and_how_far_it_is():
    said = []
    loop = loop_of(train_of(validate_every=20), validate=falling([0.5, 0.25]), progress=lambda *one: said.append(one))
    loop.run()
    assert said[-1][:2] == (40, 40) and said[-1][2].endswith("validation 0.250 ± 0.100")
    assert said[0][2].startswith("loss ") and "validation" not in said[0][2]


@pytest.mark.parametrize(
    ("pace", "left"), [(1.0, "20 s left"), (10.0, "3 min left"), (400.0, "2 h 13 min left"), (0.0, "± 0.100")]
)
def test_it_says_the_time_that_is_left_at_its_pace(pace, left):
    said, now = [], itertools.count(step=pace)
    train = train_of(validate_every=20)
    validate = falling([0.5, 0.25])
    loop_of(train, validate=validate, progress=lambda *one: said.append(one), clock=lambda: next(now)).run()
    assert next(note for done, _, note in said if done == 20).endswith(left)


def test_a_training_that_goes_on_counts_its_pace_from_there(tmp_path):
    train = train_of(checkpoint_every=10)
    killed_at(31, tmp_path, train)
    said, now = [], itertools.count(step=60)
    loop_of(train, tmp_path, progress=lambda *one: said.append(one), clock=lambda: next(now)).run()
    assert said[0][0] == 31 and said[0][2].endswith(", 9 min left")


def test_a_long_training_says_something_every_second_between_its_points():
    said, now = [], itertools.count(step=0.3)
    loop = loop_of(train_of(steps=2000), progress=lambda done, *_: said.append(done), clock=lambda: next(now))
    loop.run()
    assert len(said) > 500


def test_bfloat16_multiplies_in_it_and_keeps_its_weights():
    model, seen = Line(), set()
    model.inner[0].register_forward_hook(lambda module, given, out: seen.add(out.dtype))
    loop = loop_of(train_of(precision="bf16", steps=200), model=model)
    curve = loop.run().curve
    assert seen == {torch.bfloat16} and {weight.dtype for weight in model.parameters()} == {torch.float32}
    assert curve[-1].loss < curve[0].loss / 2


def test_a_disk_that_is_full_costs_the_checkpoint_and_not_the_training(tmp_path, monkeypatch):
    def full(step, tensors, state):
        raise OSError(28, "No space left on device")

    plain = loop_of(train_of())
    plain.run()
    loop = loop_of(train_of(checkpoint_every=10), tmp_path)
    monkeypatch.setattr(loop.checkpoints, "save", full)
    learned = loop.run()
    assert learned.unsaved[0] == "no checkpoint at step 10: No space left on device" and len(learned.unsaved) == 3
    assert same(weights(plain), weights(loop))


def test_only_the_newest_checkpoints_stay(tmp_path):
    loop_of(train_of(checkpoint_every=5), tmp_path).run()
    assert sorted(path.name[:14] for path in tmp_path.iterdir()) == ["step-000000030", "step-000000035"]
    assert len(list(tmp_path.iterdir())) == KEPT
