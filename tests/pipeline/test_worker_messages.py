"""What another process says of its failure, as an error here: its words, and one of the codes that we know."""

from __future__ import annotations

import contextlib
from pathlib import Path
from types import SimpleNamespace

import pytest

from guideway.core.errors import FAILURES, GuidewayError
from guideway.pipeline.process import _failure as of_a_stage
from guideway.pipeline.stages.train import on_ray
from guideway.pipeline.stages.train.together import _Ended
from guideway.pipeline.stages.train.together import _failure as of_a_member
from guideway.pipeline.worker import Broke, error_of

CODES = [*((code, code) for code in sorted(FAILURES)), (0, 1), (130, 1), (256, 1), (-1, 1), (2**40, 1)]


def broke(code):
    return Broke("it broke", "train.base", "mend it", code)


def raised_on_ray(code, monkeypatch):
    """What training on a cluster raises whose worker says that it broke with *code*."""
    monkeypatch.setattr(on_ray, "joined", lambda runner: contextlib.nullcontext())
    for name in ("check_room", "_look_ahead"):
        monkeypatch.setattr(on_ray, name, lambda *_: None)
    monkeypatch.setattr(on_ray, "_fit", lambda *_: broke(code))
    with pytest.raises(GuidewayError) as error:
        on_ray.on_ray(SimpleNamespace(runner={}), None, 2)
    return error.value


@pytest.mark.parametrize(("said", "code"), CODES)
def test_a_code_that_no_failure_has_is_one(said, code, monkeypatch):
    events = []
    found = [
        error_of(broke(said)),
        of_a_stage("train", 1, [broke(said)], Path("log"), events.append),
        of_a_member([_Ended(0, 1, broke(said))], 2),
        raised_on_ray(said, monkeypatch),
    ]
    assert [error.exit_code for error in found] == [code] * 4


def test_the_words_stay_and_say_which_stage_it_was():
    error = error_of(broke(2), "stage train failed: ")
    assert str(error) == "train.base: stage train failed: it broke (mend it)"
