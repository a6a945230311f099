"""What others wrote reaches a terminal as letters: it moves no cursor, sets no title and turns no line round."""

from __future__ import annotations

import io
import types

import pytest
from click.testing import CliRunner
from rich.console import Console
from rich.text import Text

from guideway import cli
from guideway.cli import logs
from guideway.cli.draw import PlainLines
from guideway.cli.explain import heat_map
from guideway.cli.live import Tree
from guideway.cli.tables import table_lines
from guideway.core.events import Note, StepFailed
from guideway.pipeline.stages.explain.attribution import Attribution, Token

EVIL = "we\x1b]0;title\x07\x1b[31m\x9b2J\u202ex"
LEFT = "we]0;title[31m2Jx"


def on_a_terminal(drawn: object) -> str:
    out = io.StringIO()
    Console(file=out, width=200, force_terminal=True, color_system=None, highlight=False).print(drawn)
    return out.getvalue()


def test_a_line_where_nothing_moves(capsys: pytest.CaptureFixture[str]) -> None:
    PlainLines(lambda: 0.0).take(Note(EVIL))
    assert capsys.readouterr().out == f" › {LEFT}\n"


def test_a_line_of_a_tree_that_moves() -> None:
    tree = Tree()
    tree.take(StepFailed("data", EVIL, "log"))
    assert LEFT in on_a_terminal(tree) and "\x1b]" not in on_a_terminal(tree)


def test_a_cell_of_a_table_in_whatever_style() -> None:
    for cell in (Text(EVIL), Text(EVIL, style="red"), Text().append("a").append(EVIL, style="bold")):
        assert [line for line in table_lines(("A",), [(cell,)], empty="") if LEFT in line]


def test_a_cell_without_anything_of_the_kind_keeps_its_styles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[31m" in "".join(table_lines(("A",), [(Text().append("a").append("b", style="red"),)], empty=""))


def test_an_error(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert cli._say(EVIL, 2) == 2
    assert capsys.readouterr().err == f"guideway: {LEFT}\n"


def test_a_heat_map() -> None:
    text = f"{EVIL} word {EVIL}"
    at = text.index("word")
    found = Attribution(text, (Token("word", at, at + 4),), (1.0,), "t", "occlusion", 1.0, 0.0, "nats")
    assert heat_map(found).plain == f"{LEFT} word {LEFT}"


def test_a_log_and_its_name(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "build").mkdir()
    (tmp_path / f"build/{EVIL}.log").write_text(f"{EVIL}\nnext\n", encoding="utf-8")
    home = types.SimpleNamespace(logs=tmp_path, run=tmp_path / "run")
    monkeypatch.setattr(logs, "state_of", lambda *_: (home, None))
    shown = CliRunner().invoke(logs.command, ["build"], color=True)
    assert shown.output == f"{LEFT}\nnext\n"
    assert CliRunner().invoke(logs.command, [], color=True).output == f"build/{LEFT}\n"
