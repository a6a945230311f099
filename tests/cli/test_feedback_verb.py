"""``guideway feedback`` as people call it."""

from __future__ import annotations

import errno
import itertools
import json
import sys
import time
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

sys.path.append(str(Path(__file__).parents[1] / "sealing"))

from fault_rig import Faults, fails, killed_at

from guideway.cli.feedback import command
from guideway.core.artifact import digest_bytes
from guideway.core.feedback import Judgement
from guideway.store import feedback, ledger
from guideway.store.database import Database
from guideway.store.feedback_spool import Spool
from guideway.store.home import Home


@pytest.fixture
def home(project):
    return Home.of(project.folder)


def waits(home, *judgements, environment="dev"):
    spool = Spool(home.environment(environment) / feedback.FOLDER, "worker")
    for judgement in judgements:
        spool.append(msgspec.msgpack.encode(judgement))
    spool.close()


A = Judgement("a" * 48, "k1", "acme", "dev", "5555555555", "stable", 1e9, thumb="down", correction="42")


def test_what_clients_said_is_listed_for_people_and_for_training(project, home):
    assert "nobody has said anything yet" in project("feedback", "list").stdout
    waits(home, A)
    said = project("feedback", "list").stdout
    assert "acme" in said and "down" in said and "42" in said
    (one,) = json.loads(project("feedback", "list", "--json").stdout)
    assert one == {
        "request": "a" * 48,
        "key": "k1",
        "owner": "acme",
        "environment": "dev",
        "release": "5555555555",
        "arm": "stable",
        "at": 1e9,
        "thumb": "down",
        "correction": "42",
    }
    assert json.loads(project("feedback", "list", "--json", "--days", "1").stdout) == []
    assert len(json.loads(project("feedback", "list", "--json", "--limit", "0").stdout)) == 1
    assert project("feedback", "list", "--limit", "-1").returncode == 2


@pytest.mark.catalogue("B37")
def test_what_a_client_wrote_moves_nothing_on_a_terminal(project, home):
    comment = "one\ntwo\x1b[2J\x1b]0;owned\x07\u202e[bold red]x[/]" + "y" * 200
    waits(home, msgspec.structs.replace(A, comment=comment, correction=None))
    said = project("feedback", "list").stdout
    assert not {"\x1b", "\x07", "\u202e"} & set(said)
    assert said.count("\n") == len(said.splitlines()) < 6
    assert "[bold" in said, "no markup either"
    assert json.loads(project("feedback", "list", "--json").stdout)[0]["comment"] == comment


def test_a_tenant_is_erased_with_what_still_waits(project, home):
    waits(home, A)
    waits(home, msgspec.structs.replace(A, request="b" * 48, environment="prod"), environment="prod")
    said = project("feedback", "erase", "--tenant", "acme")
    assert (said.returncode, said.stdout) == (0, "2 judgements erased\n")
    assert json.loads(project("feedback", "list", "--json").stdout) == []
    with Database(home.database) as database:
        (line,) = ledger.entries(database, what="feedback erased")
    assert line.subject == "acme"


def test_who_said_nothing_is_no_erasure_that_looks_done(project, home):
    waits(home, msgspec.structs.replace(A, owner="key:1760cdd5"))
    said = project("feedback", "erase", "--tenant", "1760cdd5")
    assert said.returncode == 2 and "key:ID" in said.stderr
    assert project("feedback", "erase", "--tenant", "key:1760cdd5").stdout == "1 judgement erased\n"


def test_a_tenant_must_be_named(project):
    said = project("feedback", "erase")
    assert (said.returncode, len(said.stderr.splitlines())) == (2, 1)


RIGHTS = ("--licence", "CC-BY-4.0", "--consent", "terms of 2026")


def keeps_prompts(project, home, *lines):
    """Set telemetry.prompts, and put *lines* into the log of the gateway, the first into the older file."""
    spec = project.folder / "guideway.yaml"
    text = spec.read_text(encoding="utf-8")
    assert "\ngateway:\n" in text
    spec.write_text(text.replace("\ngateway:\n", "\ngateway:\n  telemetry: {prompts: true}\n"), encoding="utf-8")
    folder = home.logs / "dev"
    folder.mkdir(parents=True, exist_ok=True)
    for name, line in zip(("gateway.log.1", "gateway.log"), lines, strict=True):
        (folder / name).write_text(line + "\n", encoding="utf-8")


def logged(request, text):
    body = json.dumps({"model": "poet", "messages": [{"role": "user", "content": text}]})
    return json.dumps({"event": "request", "id": request, "prompt": body})


def test_corrections_become_rows_for_the_next_build(project, home):
    now = time.time()
    recent = msgspec.structs.replace(A, at=now)
    waits(home, recent, msgspec.structs.replace(recent, request="b" * 48, owner="other", correction="7"), A)
    waits(home, msgspec.structs.replace(recent, request="c" * 48))
    keeps_prompts(project, home, logged("a" * 48, "six times seven?"), logged("b" * 48, "one more than six?"))
    said = project("feedback", "export", "-o", "rows.jsonl", *RIGHTS)
    assert (said.returncode, said.stdout) == (0, "2 rows in rows.jsonl; left out: 1 whose prompt is not in the log\n")
    out = project.folder / "rows.jsonl"
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert sorted(row["messages"][-1]["content"] for row in rows) == ["42", "7"]
    assert out.stat().st_mode & 0o777 == 0o600
    said = project("feedback", "export", "-o", "rows.jsonl", *RIGHTS, "--tenant", "other")
    assert said.stdout == "1 row in rows.jsonl\n"
    with Database(home.database) as database:
        assert [line.data["rows"] for line in ledger.entries(database, what="feedback exported")] == [2, 1]


def test_prompts_that_are_not_kept_by_order_are_not_exported(project, home):
    waits(home, msgspec.structs.replace(A, at=time.time()))
    said = project("feedback", "export", "-o", "rows.jsonl", *RIGHTS)
    assert said.returncode == 2 and "prompts are not kept in 'dev'" in said.stderr
    assert not (project.folder / "rows.jsonl").exists()
    assert project("feedback", "export", "-o", "rows.jsonl", "--licence", "MIT").returncode == 2
    assert (
        "--licence says nothing" in project("feedback", "export", "-o", "x", "--licence", " ", "--consent", "y").stderr
    )


class Exports:
    """Exports of one judgement in this process, each told by what it left: the file, the line, and hidden files."""

    def __init__(self, project, home):
        waits(home, msgspec.structs.replace(A, at=time.time()))
        keeps_prompts(project, home, logged("b" * 48, "not asked"), logged("a" * 48, "six times seven?"))
        self.home, self.out = home, project.folder / "out" / "rows.jsonl"
        self.argv = ["export", "-o", str(self.out), *RIGHTS, "-f", str(project.folder / "guideway.yaml")]
        assert self.run().exit_code == 0
        self.whole, self.digest = self.out.read_bytes(), digest_bytes(self.out.read_bytes())

    def run(self):
        return CliRunner().invoke(command, self.argv)

    def lines(self):
        with Database(self.home.database) as database:
            return [line.data["file"] for line in ledger.entries(database, what="feedback exported")]

    def left(self, work):
        """Whether *work* went on to its end; the file that is there then, new lines, and hidden files."""
        for path in self.out.parent.iterdir():
            path.unlink()
        before = len(self.lines())
        ended = work()
        found = self.out.read_bytes() if self.out.exists() else None
        hidden = [path.read_bytes() for path in self.out.parent.glob(".*")]
        return ended, found, self.lines()[before:], hidden


@pytest.fixture
def exports(project, home):
    return Exports(project, home)


@pytest.mark.thorough
def test_an_export_that_is_killed_anywhere_leaves_no_file_without_a_line_and_behind_a_line_all_its_bytes(exports):
    unnamed = 0
    for at in itertools.count(1):
        killed, found, lines, hidden = exports.left(lambda at=at: killed_at(at, exports.run))
        assert found in (None, exports.whole) and lines in ([], [exports.digest]), at
        if found is not None:
            assert lines, at
        elif lines:  # only the name is missing
            assert hidden == [exports.whole], at
            unnamed += 1
        if not killed:
            break
    assert at > 8 and unnamed == 1, "between the line and the name there is nothing else to fail"
    assert (found, lines, hidden) == (exports.whole, [exports.digest], [])


@pytest.mark.thorough
def test_an_export_that_fails_anywhere_leaves_neither_and_nothing_hidden(exports):
    for at in itertools.count(1):
        faults = Faults(fails(errno.ENOSPC), at=at)

        def run(faults=faults):
            with faults.armed():
                exports.run()

        _, found, lines, hidden = exports.left(run)
        if len(faults.seen) < at:
            break
        assert found in (None, exports.whole) and hidden == [], at
        if faults.seen[at - 1] != "replace":
            assert lines == ([] if found is None else [exports.digest]), at
    assert at > 8
