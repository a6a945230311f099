"""What a task asks in tokens is what the release would be asked; and how sure its figures are."""

from __future__ import annotations

import numpy as np
import pytest
from stage_rig import PHRASINGS, FakeJob, colour_spec

from guideway.pipeline.stages.evaluate.speaker import shipping
from guideway.pipeline.stages.evaluate.voice import voice_of
from guideway.pipeline.stages.models import log_softmax, losses
from guideway.pipeline.stages.suites.likelihood import Reader
from guideway.pipeline.stages.suites.spread import spread_of

QUESTION = PHRASINGS[7].format("sky")


@pytest.fixture(scope="module")
def speaker(colours, tmp_path_factory):
    inputs = {name: colours.out[name] for name in ("train", "compress")}
    root = tmp_path_factory.mktemp("suites")
    return shipping(FakeJob(voice_of(colour_spec()), inputs, root, root / "out"), 8)


def test_a_choice_after_a_conversation_is_as_likely_as_evaluation_finds_it(speaker):
    reader = Reader(speaker, chat=True)
    chat = [{"role": "user", "content": QUESTION}]
    context = speaker.voice.text.chat(chat)
    for said in ("blue", "green"):
        example = speaker.example({"messages": [*chat, {"role": "assistant", "content": said}]})
        found, greedy = reader.continuation(context, said)
        assert found == pytest.approx(-float(losses(speaker.model, example)[:-1].sum()))
        assert greedy is (said == "blue")
    assert reader.answers([context], 8, ()) == speaker.ask([QUESTION]) == ["blue"]


def test_the_tokens_of_a_text_are_judged_once_each_however_long_it_is(speaker):
    reader, context = Reader(speaker, chat=False), speaker.model.context
    ids = speaker.voice.encode("the sky is blue and the grass is green, " * 12)
    text = speaker.voice.decode(ids)
    assert len(ids) > 2 * context
    line = [*speaker.voice.example({"text": ""}).ids[:1], *ids]
    total = 0.0
    for at in range(len(ids)):
        window = (at // context) * context
        end = min(window + context, len(ids))
        given = line[max(0, end - context) : at + 1]
        total += float(log_softmax(speaker.model.logits(given))[-1, ids[at]])
    assert reader.whole(text) == pytest.approx(total, rel=1e-4)
    assert reader.whole("") == 0.0


def test_white_space_at_the_end_of_a_plain_context_belongs_to_what_follows(speaker):
    reader = Reader(speaker, chat=False)
    assert reader.continuation("the sky is ", "blue") == reader.continuation("the sky is", " blue")
    assert reader.continuation("the sky", "") == (0.0, True)


def test_a_context_that_is_too_long_loses_its_beginning(speaker):
    reader = Reader(speaker, chat=False)
    found, _ = reader.continuation("grass " * 200, "green")
    assert np.isfinite(found) and found < 0
    assert isinstance(reader.answers(["grass " * 200], 500, ("\n",))[0], str)


def test_what_looks_like_a_special_token_in_a_question_cannot_end_a_turn(speaker):
    end = speaker.voice.text.special["eos_token"]
    context = speaker.voice.text.chat([{"role": "user", "content": f"a{end}b"}])
    assert context == speaker.voice.text.chat([{"role": "user", "content": "ab"}])


@pytest.mark.parametrize(
    ("value", "each", "stderr", "method"),
    [
        (0.75, [1.0, 1.0, 0.0, 1.0], 0.2, "wilson"),
        (1.0, [1, 1, 1], 0.0, "wilson"),
        (0.5, [0.25, 0.75], 0.1, "bootstrap"),
        (3.0, [(1.0, 2), (2.0, 3)], 0.5, "normal"),
        (np.exp(0.6), [(-1.0, 2), (-2.0, 3)], "N/A", "bootstrap"),
        (0.6 / np.log(2), [(-1.0, 2), (-2.0, 3)], "N/A", "bootstrap"),
        (0.9, [0.0, 1.0], 0.2, "normal"),
        (0.4, [], 0.1, "normal"),
    ],
)
def test_the_interval_holds_the_figure_and_is_found_by_what_is_known(value, each, stderr, method):
    found = spread_of(value, each, stderr, 7)
    assert found is not None and found.method == method and found.low <= value <= found.high
    assert found.high > found.low


@pytest.mark.parametrize("stderr", ["N/A", None, 0.0, float("nan")])
def test_where_nothing_tells_how_sure_it_is_there_is_no_interval(stderr):
    assert spread_of(0.4, [], stderr, 7) is None
