"""Pre-flight: what a plan needs is known before anything runs, and what would fit is said."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from guideway.core.errors import Unavailable
from guideway.core.spec import Architecture, Runner, Spec, Tune
from guideway.core.spec.tune import Dimension
from guideway.kit.machine import Machine
from guideway.pipeline.needs import (
    ADAPTERS,
    FOUR_BITS,
    PROCESS,
    fitting_batch,
    needs,
    shape_of,
    training_memory,
    whole_memory,
)
from guideway.pipeline.preflight import preflight, require, size
from guideway.pipeline.shapes import base_shape, trained_shape, use_share

LARGE = Machine(memory=10**12, memory_free=10**12, disk_free=10**12)


def spec(**train) -> Spec:
    return msgspec.convert(
        {"guideway": 1, "name": "m", "data": {"sources": [{"path": "x.jsonl"}]}, "train": train}, Spec
    )


def test_the_weights_are_those_that_transformers_makes():
    from guideway.pipeline.stages.train.start import make_model

    asked = Architecture(layers=3, hidden=96, heads=3, kv_heads=1, feed_forward=200, vocabulary=500, context=64)
    made = make_model(asked, 500, 0, 7)
    assert shape_of(asked).weights == sum(one.numel() for one in made.parameters())


def test_memory_grows_with_the_batch_and_shrinks_with_the_share_that_is_trained():
    shape = shape_of(Architecture(layers=8, hidden=512, heads=8, kv_heads=8, feed_forward=2048, vocabulary=32000))
    assert training_memory(shape, 64) > training_memory(shape, 32) > 16 * shape.weights
    assert training_memory(shape, 32, 0.01) < training_memory(shape, 32) - 11 * shape.weights


def test_a_small_plan_fits_and_says_how_long_it_takes(tmp_path):
    (tmp_path / "x.jsonl").write_text(json.dumps({"prompt": "p" * 100, "response": "r" * 100}) + "\n")
    flight = preflight(spec(steps=100), tmp_path, LARGE, speed=1e11)
    assert flight is not None and not flight.tight and flight.advice == ""
    assert 0 < flight.share < 0.01
    tokens = flight.needs[0].operations / 6 / flight.needs[0].disk * 8 / 100 / 32
    assert tokens == pytest.approx(50)
    assert flight.seconds == pytest.approx(flight.needs[0].operations / 3.5e10)
    require(flight)


def test_what_will_never_fit_is_refused_with_what_would():
    asked = spec(batch=4096, architecture={"context": 2048})
    small = Machine(memory=4 * 10**9, memory_free=3 * 10**9, disk_free=10**12)
    flight = preflight(asked, Path("/nowhere"), small, None)
    assert flight is not None and flight.tight and flight.seconds is None
    with pytest.raises(Unavailable, match=r"stage train needs .* this machine has 4\.0 GB: .* batches of 4096") as said:
        require(flight)
    batch = int(said.value.try_this.split()[1])
    shape = shape_of(asked.train.architecture)
    assert training_memory(shape, batch) <= small.memory_free < training_memory(shape, 2 * batch)


def test_what_is_only_tight_now_is_told_and_not_refused():
    flight = preflight(spec(), Path("/nowhere"), Machine(64 * 10**9, 7 * 10**8, 10**12), None)
    assert flight is not None and flight.tight and flight.advice
    require(flight)


def test_no_batch_fits_where_the_weights_alone_do_not():
    shape = shape_of(Architecture(layers=32, hidden=4096, heads=32, kv_heads=8, feed_forward=14336, vocabulary=128256))
    assert shape.weights == pytest.approx(7.5e9, rel=0.01)
    assert fitting_batch(shape, 64, 50e9) == 0
    asked = spec(architecture=msgspec.to_builtins(Architecture(layers=32, hidden=4096, heads=32, kv_heads=8)))
    flight = preflight(asked, Path("/nowhere"), Machine(10**9, 10**9, 10**12), None)
    assert flight is not None and "a machine with" in flight.advice


def test_a_model_is_trained_in_the_memory_of_a_gpu_where_there_is_one():
    there = Machine(memory=10**12, memory_free=10**12, disk_free=10**12, gpu=10**9)
    flight = preflight(spec(batch=1024), Path("/nowhere"), there, None)
    assert flight is not None
    with pytest.raises(Unavailable, match=r"stage train needs .*, and this machine has 1\.0 GB"):
        require(flight)


def test_a_search_takes_the_time_of_its_trials_and_the_memory_of_those_at_once(tmp_path):
    (tmp_path / "x.jsonl").write_text('{"prompt": "p", "response": "r"}\n')
    tune = Tune(search={"batch": Dimension(choices=(8, 16))}, trials=10, steps=50, parallel=3)
    asked, plain = msgspec.structs.replace(spec(steps=100), tune=tune), spec(steps=100)
    alone, flight = (preflight(one, tmp_path, LARGE, speed=1e11) for one in (plain, asked))
    assert flight.seconds == pytest.approx(alone.seconds * (1 + 10 * 50 / 100 + 6))
    room = int(alone.needs[0].memory * 2.5)
    tight = preflight(asked, Path("/nowhere"), Machine(10**12, room, 10**12), None)
    assert tight.tight and tight.advice == "tune.parallel: 2"
    assert not preflight(plain, Path("/nowhere"), Machine(10**12, room, 10**12), None).tight
    folded = msgspec.structs.replace(asked, tune=msgspec.structs.replace(tune, folds=4))
    assert preflight(folded, tmp_path, LARGE, speed=1e11).seconds == pytest.approx(alone.seconds * (1 + 40 * 0.5 + 6))
    elsewhere = msgspec.structs.replace(asked, runner=Runner(kind="ray", address="10.0.0.5:6379"))
    assert not preflight(elsewhere, Path("/nowhere"), Machine(10**12, room, 10**12), None).tight


def test_a_full_disk_is_seen_before_anything_is_written():
    flight = preflight(spec(), Path("/nowhere"), LARGE._replace(disk_free=1000), None)
    assert flight is not None
    with pytest.raises(Unavailable, match=r"disk, and 0 MB are free"):
        require(flight)


def test_the_shape_of_a_base_is_read_from_its_config_and_the_headers_of_its_weights(tmp_path):
    import torch
    from safetensors.torch import save_file

    config = {"num_hidden_layers": 2, "hidden_size": 8, "vocab_size": 50, "max_position_embeddings": 32}
    (tmp_path / "config.json").write_text(json.dumps(config))
    tensors = {"a": (3, 5), "b": (7,), "embed": (50, 1), "mlp.experts.0.up": (2, 4)}
    save_file({name: torch.zeros(one) for name, one in tensors.items()}, tmp_path / "model.safetensors")
    shape = base_shape(tmp_path, 64)
    assert shape is not None
    assert (shape.weights, shape.matrices, shape.context, shape.feed_forward) == (80, 15, 32, 32)
    (tmp_path / "config.json").write_text("{}")
    assert base_shape(tmp_path, 64) is None
    assert preflight(spec(recipe="full", base="b"), tmp_path, LARGE, None) is None


def test_where_the_precision_is_chosen_later_there_is_room_for_every_candidate():
    def asked(**compress):
        plain = {"guideway": 1, "name": "m", "data": {"sources": [{"path": "x.jsonl"}]}, "compress": compress}
        whole = msgspec.convert(plain, Spec)
        return {one.stage: one for one in needs(whole, shape_of(whole.train.architecture), 100.0)}

    auto, int8 = asked(precision="auto", candidates=["int4", "int8"]), asked(precision="int8")
    assert auto["serve"].memory == int8["serve"].memory
    assert int8["compress"].disk < auto["compress"].disk < asked(precision="auto")["compress"].disk
    assert asked(precision="int8", prune={})["compress"].disk == 2 * int8["compress"].disk


def test_adapters_need_less_and_a_student_is_what_its_architecture_says(tmp_path):
    whole, adapter = spec(recipe="full", base="b").train, spec(recipe="lora", base="b").train
    shape = shape_of(Architecture(layers=12, hidden=768, heads=12, kv_heads=12, feed_forward=3072, vocabulary=30000))
    there = Machine(memory=10**11, memory_free=5 * 10**10, disk_free=10**12)
    assert use_share(adapter, shape, there) < use_share(whole, shape, there) < 1.0
    student = spec(recipe="distill", base="b", architecture={"layers": 3}).train
    assert trained_shape(student, tmp_path, "chat") == shape_of(student.architecture)
    assert trained_shape(whole, tmp_path, "chat") is None


def test_a_base_in_four_bits_takes_a_seventh_of_its_matrices_and_is_whole_once_at_the_end():
    shape = shape_of(Architecture(layers=32, hidden=4096, heads=32, kv_heads=8, feed_forward=14336, vocabulary=128256))
    four, whole = spec(recipe="qlora", base="b").train, spec(recipe="lora", base="b").train
    assert shape.matrices == 32 * (2 * 4096**2 + 2 * 4096 * 1024 + 3 * 4096 * 14336)
    saved = whole_memory(whole, shape) - whole_memory(four, shape)
    assert saved == pytest.approx(shape.matrices * (4 - FOUR_BITS), rel=0.02)
    gpu = Machine(memory=10**12, memory_free=4 * 10**11, disk_free=10**13, gpu=10**12)
    assert use_share(four, shape, gpu) == pytest.approx(whole_memory(four, shape) / 10**12)
    small = gpu._replace(memory_free=10**10)
    assert use_share(four, shape, small) == pytest.approx((PROCESS + 4 * shape.weights) / 10**10)
    assert use_share(whole, shape, small) == pytest.approx(whole_memory(whole, shape) / 10**12)


def test_advice_for_adapters_counts_neither_moments_nor_whole_weights_of_the_base(monkeypatch):
    shape = shape_of(Architecture(layers=16, hidden=1024, heads=16, kv_heads=16, feed_forward=4096, vocabulary=32000))
    monkeypatch.setattr("guideway.pipeline.preflight.trained_shape", lambda *asked: shape)
    room = int(training_memory(shape, 64, ADAPTERS, shape.matrices)) + 1
    flight = preflight(spec(recipe="qlora", base="b", batch=512), Path("/nowhere"), Machine(10**12, room, 10**12), None)
    assert flight is not None and flight.tight and flight.advice == "train.batch: 64 fits"
    assert fitting_batch(shape, 512, room) < 64


def test_replicas_count_together():
    one = msgspec.structs.replace(spec(), replicas=1)
    four = msgspec.structs.replace(spec(), replicas=4)
    shape = shape_of(one.train.architecture)
    assert needs(four, shape, 9)[-1].memory == pytest.approx(4 * needs(one, shape, 9)[-1].memory)


def test_bytes_are_read_as_people_do():
    assert (size(12_300_000_000), size(250_000_000), size(4_000_000)) == ("12.3 GB", "0.2 GB", "4 MB")
