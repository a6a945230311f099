"""What a terminal shows while work goes on, and what a machine reads."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from guideway.cli.draw import JsonLines, PlainLines, drawn
from guideway.cli.live import Tree
from guideway.cli.steps import SPINNER, duration
from guideway.cli.tables import table
from guideway.core.events import Note, Progress, StepFailed, StepFinished, StepPlanned, StepStarted


def shown(*events: object, width: int = 100) -> list[str]:
    tree = Tree()
    for event in events:
        tree.take(event)  # type: ignore[arg-type]
    out = io.StringIO()
    Console(file=out, width=width, highlight=False).print(tree)
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_a_step_waits_runs_and_is_done():
    planned = StepPlanned("train", True, "never ran")
    assert shown(planned) == [" · train"]
    assert shown(planned, StepStarted("train", "never ran"))[0][1] in SPINNER
    done = shown(planned, StepFinished("train", 65.0, False, "sha256:x", ("loss 0.1", "2 MB")))
    assert done == [" ✓ train         65 s  loss 0.1  2 MB"]


def test_a_cached_step_says_so():
    assert shown(StepFinished("data", 3.0, True, "sha256:x")) == [" = data        cached"]


def test_progress_has_a_bar_a_share_and_the_time_left():
    line = shown(StepStarted("train", "why"), Progress("train", 30, 100, "loss 2.5"))[0]
    assert "━━━━━━━╌" in line and "30%" in line and "left" in line and line.endswith("loss 2.5")


def test_a_stage_that_says_the_time_left_itself_is_believed():
    line = shown(StepStarted("train", "why"), Progress("train", 30, 100, "loss 2.5, 3 min left"))[0]
    assert line.count("left") == 1 and line.endswith("3 min left")


def test_before_the_first_step_nothing_is_foretold():
    assert "left" not in shown(StepStarted("train", "why"), Progress("train", 0, 100))[0]


def test_a_failed_step_says_what():
    assert shown(StepFailed("train", "the loss is NaN", "a.log")) == [" ✗ train     the loss is NaN"]


@pytest.mark.parametrize(("verdict", "mark"), [("PASS", "✓"), ("FAIL", "✗"), ("UNKNOWN", "?"), ("", "›")])
def test_a_note_carries_the_mark_of_its_verdict(verdict, mark):
    assert shown(Note("EVL-01 is judged", {"verdict": verdict})) == [f" {mark} EVL-01 is judged"]


def test_a_long_step_is_cut_and_a_long_note_is_folded():
    lines = shown(StepFinished("data", 1.0, False, "sha256:x", ("x" * 80,)), Note("word " * 20), width=40)
    assert lines[0].endswith("…") and len(lines) > 3
    assert all(len(line) <= 40 for line in lines)


def test_what_people_named_is_never_read_as_markup(capsys):
    table(("NAME",), [("[bold]x[/]",)], empty="")
    assert "[bold]x[/]" in capsys.readouterr().out


def test_an_empty_table_says_something(capsys):
    table(("NAME",), [], empty="nothing here")
    assert capsys.readouterr().out == "nothing here\n"


def test_machines_get_every_event_but_little_progress(capsys):
    lines = JsonLines()
    lines.take(StepStarted("train", "why"))
    for done in range(1000):
        lines.take(Progress("train", done, 1000))
    lines.take(StepFinished("train", 1.0, False, "sha256:x"))
    events = [json.loads(line)["event"] for line in capsys.readouterr().out.splitlines()]
    assert (events[0], events[-1]) == ("started", "finished")
    assert 1 <= events.count("progress") < 10


def test_in_a_pipe_people_get_lines_without_bars_and_progress_once_in_ten_seconds(capsys):
    now = 100.0
    lines = PlainLines(clock=lambda: now)
    lines.take(StepPlanned("train", True, "never ran"))
    lines.take(StepStarted("train", "never ran"))
    for second in range(31):
        now = 100.0 + second
        lines.take(Progress("train", second, 40, "loss 2.5"))
    lines.take(StepFinished("train", 30.0, False, "sha256:x", ("loss 0.1",)))
    lines.take(StepFinished("scan", 30.0, True, "sha256:x"))
    lines.take(Note("EVL-01 is judged", {"verdict": "PASS"}))
    assert capsys.readouterr().out.splitlines() == [
        " … train     never ran",
        " … train      25% 10 s, 30 s left  loss 2.5",
        " … train      50% 20 s, 20 s left  loss 2.5",
        " … train      75% 30 s, 10 s left  loss 2.5",
        " ✓ train         30 s  loss 0.1",
        " = scan        cached",
        " ✓ EVL-01 is judged",
    ]


@pytest.mark.parametrize(("as_json", "said"), [(False, " › hello\n"), (True, '{"event":"note","text":"hello"}\n')])
def test_json_lines_come_only_when_they_are_asked_for(capsys, as_json, said):
    with drawn(as_json=as_json) as emit:
        emit(Note("hello"))
    assert capsys.readouterr().out == said


@pytest.mark.parametrize(("seconds", "text"), [(0.44, "0.4 s"), (12.3, "12 s"), (125.0, "2 m 05 s")])
def test_durations_are_short(seconds, text):
    assert duration(seconds) == text
