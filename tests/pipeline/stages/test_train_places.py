"""Where a base may come from: what names it says exactly which bytes, and none of them is code."""

from __future__ import annotations

import json
import shutil

import huggingface_hub.constants
import pytest
from hub_rig import REVISION, hub
from stage_rig import FakeJob, colour_spec

from guideway.core.errors import Refused, SpecError, Unavailable
from guideway.pipeline.stages import train
from guideway.pipeline.stages.train.hub import fetch

DIGEST = "sha256:" + "a" * 64
SHORT = {"steps": 3, "batch": 8, "learning_rate": 1e-4}


@pytest.fixture
def base(colours, tmp_path):
    """The trained model of the colours, as a model of somebody else."""
    folder = tmp_path / "somebody"
    shutil.copytree(colours.out["train"], folder, ignore=shutil.ignore_patterns("report.html", "curve.json"))
    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))


def full(said):
    return colour_spec(train={"recipe": "full", "base": said, **SHORT})


@pytest.mark.parametrize(
    ("said", "what", "advice"),
    [
        ("hf:ann/small", "does not say which revision", "40 digits of a commit"),
        ("hf:ann/small@main", "does not say which revision", "40 digits of a commit"),
        (f"hf:ann/small@{REVISION[:12]}", "does not say which revision", "40 digits"),
        ("release:small", "does not say which release", "all 64 digits"),
        ("release:small:3", "does not say which release", "all 64 digits"),
        (f"registry.example.com/ann/small@{DIGEST}", "not taken from a registry unseen", "`guideway pull`"),
        ("oci://registry.example.com/ann/small", "not taken from a registry unseen", "`guideway pull`"),
        ("ann/small", "there is no folder 'ann/small'", "hf:ann/small@COMMIT"),
    ],
)
def test_a_base_that_could_be_two_things_is_refused_with_how_to_write_it(tmp_path, said, what, advice):
    with pytest.raises(SpecError, match=what) as refused:
        train.sources(full(said), tmp_path)
    assert advice in refused.value.try_this


def test_a_base_with_a_commit_or_a_digest_needs_no_file_beside_the_spec(tmp_path):
    for said in (f"hf:ann/small@{REVISION}", f"release:small@{DIGEST}"):
        assert train.sources(full(said), tmp_path) == ()


def test_only_a_release_is_borrowed():
    assert train.borrows(full(f"release:small@{DIGEST}")) == {"base": f"release:small@{DIGEST}"}
    assert (
        train.borrows(full("base")) == train.borrows(full(f"hf:a/b@{REVISION}")) == train.borrows(colour_spec()) == {}
    )


def test_a_model_of_a_release_is_where_training_starts(colours, base, tmp_path):
    spec = full(f"release:small@{DIGEST}")
    job = FakeJob(dict(train.params(spec)), {"data": colours.out["data"], "base": base}, tmp_path, tmp_path / "out")
    train.run(job)
    assert job.one("train_loss").value < 1
    assert (job.out / "tokenizer.json").read_bytes() == (base / "tokenizer.json").read_bytes()


def test_the_hub_gives_the_commit_and_nothing_that_is_code(base, tmp_path):
    for name in ("modeling.py", "pytorch_model.bin", "weights.pkl"):
        (base / name).write_bytes(b"code")
    with hub(base, "ann/small") as (address, asked):
        found = fetch("ann/small", REVISION, tmp_path / "fetched", address)
    names = {path.name for path in found.iterdir()}
    assert "model-small.safetensors" in names and not names & {"modeling.py", "pytorch_model.bin", "weights.pkl"}
    assert all(REVISION in path for path in asked) and not any(path.endswith((".py", ".bin", ".pkl")) for path in asked)
    assert all(not path.is_symlink() for path in found.iterdir())


def test_what_was_fetched_once_is_there_without_the_hub(base, tmp_path, monkeypatch):
    with hub(base, "ann/small") as (address, _):
        fetch("ann/small", REVISION, tmp_path / "one", address)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert (fetch("ann/small", REVISION, tmp_path / "two") / "config.json").is_file()


def test_a_model_that_the_hub_does_not_have_is_one_clear_line(base, tmp_path):
    with hub(base, "ann/small") as (address, _), pytest.raises(SpecError, match="the hub has no such model") as refused:
        fetch("ann/other", REVISION, tmp_path / "fetched", address)
    assert refused.value.where == f"hf:ann/other@{REVISION}"


def test_a_hub_that_does_not_answer_is_one_clear_line(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(Unavailable, match="the hub cannot be reached: ") as refused:
        fetch("ann/small", REVISION, tmp_path / "fetched")
    assert "\n" not in str(refused.value) and not (tmp_path / "fetched").exists()


def test_a_base_of_the_hub_is_judged_before_it_is_loaded(colours, base, tmp_path, monkeypatch):
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps({**config, "auto_map": {"AutoModel": "theirs.Model"}}))
    spec = full(f"hf:ann/small@{REVISION}")
    job = FakeJob(dict(train.params(spec)), {"data": colours.out["data"]}, tmp_path, tmp_path / "out")
    with hub(base, "ann/small") as (address, _):
        fetch("ann/small", REVISION, tmp_path / "once", address)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(SpecError, match="code of its own"):
        train.run(job)
    (base / "config.json").write_text(json.dumps(config))


def test_a_base_of_the_hub_with_an_unsafe_template_is_refused(colours, base, tmp_path, monkeypatch):
    (base / "chat_template.jinja").write_text("{{ ''.__class__ }}")
    job = FakeJob(dict(train.params(full(f"hf:ann/small@{REVISION}"))), {}, tmp_path, tmp_path / "out")
    with hub(base, "ann/small") as (address, _):
        fetch("ann/small", REVISION, tmp_path / "once", address)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(Refused, match="a file of the base is unsafe"):
        train.run(job)
