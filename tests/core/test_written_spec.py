"""What somebody wrote of a spec, and what is only its defaults."""

from __future__ import annotations

import msgspec
import pytest

from guideway.core.spec import Data, Source, Spec, Train, build_part
from guideway.core.spec.compress import Compress, Prune
from guideway.core.spec.written import written

LEAST = {"guideway": 1, "name": "m", "data": {"sources": [{"path": "a.jsonl"}]}}
DATA = Data(sources=(Source(path="a.jsonl"),))


def plain(**keys):
    """The build part of a small spec, as a release holds it: with every default."""
    spec = Spec(guideway=1, name="m", **{"data": DATA, **keys})
    return msgspec.json.decode(msgspec.json.encode(build_part(spec)))


def test_a_spec_with_every_default_was_written_in_three_keys():
    assert written(plain()) == LEAST


@pytest.mark.parametrize(
    ("keys", "left"),
    [
        ({"train": Train(recipe="lora", base="models/b")}, {"train": {"recipe": "lora", "base": "models/b"}}),
        ({"train": Train(steps=1000)}, {}),
        ({"compress": Compress(prune=Prune(share=0.5))}, {"compress": {"prune": {"share": 0.5}}}),
        ({"task": "completion"}, {"task": "completion"}),
    ],
)
def test_what_differs_from_its_default_is_left_however_deep_it_is(keys, left):
    assert written(plain(**keys)) == LEAST | left


def test_parts_of_a_list_lose_their_defaults_and_keep_their_places():
    data = Data(sources=(Source(path="a"), Source(path="b", licence="MIT")), seed=7)
    assert written(plain(data=data))["data"] == {"sources": [{"path": "a"}, {"path": "b", "licence": "MIT"}]}


def test_keys_of_another_version_were_written():
    told = {**plain(), "later": {"seed": 7}, "train": {"steps": 1000, "later": None}}
    assert written(told) == LEAST | {"later": {"seed": 7}, "train": {"later": None}}
