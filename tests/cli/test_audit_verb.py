"""``guideway audit``: look at the ledger, verify it here and elsewhere, and seal it."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3

import pytest

from guideway.kit.user import user_name


@pytest.fixture
def ledger(project):
    """A project whose ledger has four lines and a checkpoint at the third."""
    keys = [json.loads(project("keys", "new", "--label", name, "--json").stdout) for name in ("ann", "bob")]
    assert keys
    assert project("audit", "checkpoint").returncode == 0
    project("keys", "revoke", json.loads(project("keys", "list", "--json").stdout)[0]["id"])
    return project


def tamper(project, *statements: str) -> None:
    path = project.folder / ".guideway" / "state.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
        for name in ("ledger_keeps_what_is_written", "ledger_keeps_every_line"):
            database.execute(f"DROP TRIGGER IF EXISTS {name}")
        for statement in statements:
            database.execute(statement)


def told(project, *argv: str) -> list[tuple[int, str]]:
    return [(line["seq"], line["what"]) for line in json.loads(project("audit", *argv, "--json").stdout)]


def test_alone_it_shows_the_log_the_newest_first_with_who_and_the_user(ledger):
    said = ledger("audit", COLUMNS="200").stdout
    assert (
        told(ledger) == told(ledger, "log") == [(4, "key revoked"), (3, "checkpoint"), (2, "key made"), (1, "key made")]
    )
    assert f"command line ({user_name()})" in said and f"guideway ({user_name()})" in said


def test_the_log_is_narrowed_by_number_what_and_subject(ledger):
    assert told(ledger, "log", "-n", "2") == [(4, "key revoked"), (3, "checkpoint")]
    assert told(ledger, "log", "--what", "key made") == [(2, "key made"), (1, "key made")]
    subject = json.loads(ledger("audit", "log", "--what", "key revoked", "--json").stdout)[0]["subject"]
    assert (4, "key revoked") in told(ledger, "log", "--subject", subject)
    assert "no such line" in ledger("audit", "log", "--what", "nothing").stdout


def test_verify_says_how_much_is_held_by_what(ledger):
    assert ledger("audit", "verify").stdout == "4 lines, chain whole; 1 checkpoints, 1 lines after the last\n"
    found = json.loads(ledger("audit", "verify", "--json").stdout)
    assert found == {"lines": 4, "checkpoints": 1, "bare": 1, "problems": []}


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("UPDATE ledger SET who = 'eve' WHERE seq = 2", "line 2 was changed"),
        ("DELETE FROM ledger WHERE seq = 2", "line 2 is missing"),
        ("DELETE FROM ledger WHERE seq > 1", "lines 2 to 3 are missing: checkpoint 3 was signed when they were there"),
    ],
)
def test_a_problem_is_named_and_the_exit_code_says_corrupt(ledger, statement, says):
    tamper(ledger, statement)
    said = ledger("audit", "verify")
    assert said.returncode == 4
    assert said.stderr == f"guideway: ledger: {says}\n" or says in said.stderr
    assert f"✗ {says}" in said.stdout


def test_an_exported_ledger_is_verified_without_project_and_database(ledger, guideway):
    assert ledger("audit", "export", "out.jsonl").returncode == 0
    shutil.move(ledger.folder / "out.jsonl", guideway.folder / "out.jsonl")
    (guideway.folder / "public").mkdir()
    shutil.copy(ledger.folder / ".guideway" / "keys" / "guideway.pub.pem", guideway.folder / "public")
    said = guideway("audit", "verify", "out.jsonl", "--keys", "public")
    assert said.returncode == 0 and "4 lines, chain whole; 1 checkpoints" in said.stdout
    path = guideway.folder / "out.jsonl"
    path.write_text(path.read_text().replace('"key revoked"', '"key kept"'))
    said = guideway("audit", "verify", "out.jsonl", "--keys", "public")
    assert said.returncode == 4 and "line 4 was changed" in said.stderr


def test_a_file_that_is_not_there_is_one_line(ledger):
    said = ledger("audit", "verify", "none.jsonl")
    assert said.returncode == 2 and "none.jsonl: there is no such file" in said.stderr


def test_checkpoints_are_copied_where_the_environment_says(ledger, tmp_path):
    copies = tmp_path / "other-disk"
    assert ledger("audit", "checkpoint", GUIDEWAY_CHECKPOINTS=str(copies)).returncode == 0
    assert [path.name for path in sorted(copies.glob("*.json"))] == ["00000003.json", "00000005.json"]
    shutil.rmtree(ledger.folder / ".guideway" / "checkpoints")
    tamper(ledger, "DELETE FROM ledger WHERE seq = 5", "DELETE FROM checkpoints")
    said = ledger("audit", "verify", GUIDEWAY_CHECKPOINTS=str(copies))
    assert said.returncode == 4 and "lines 5 to 5 are missing" in said.stderr


def test_a_checkpoint_that_is_due_is_made_by_the_verb_that_wrote_the_line(project):
    project("status")
    path = project.folder / ".guideway" / "state.db"
    lines = "WITH RECURSIVE n(seq) AS (SELECT 1 UNION ALL SELECT seq + 1 FROM n WHERE seq < 99) SELECT seq FROM n"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute(f"INSERT INTO ledger SELECT seq, 1.0, 'a', 'b', 'c', '', '{{}}', 'p', 'h' FROM ({lines})")
    assert project("keys", "new").returncode == 0
    assert [one.name for one in (project.folder / ".guideway" / "checkpoints").glob("*.json")] == ["00000100.json"]


def test_a_due_checkpoint_that_cannot_be_written_is_a_warning_after_the_work(project):
    project("status")
    path = project.folder / ".guideway"
    (path / "checkpoints").write_text("in the way")
    with contextlib.closing(sqlite3.connect(path / "state.db", isolation_level=None)) as database:
        database.execute("INSERT INTO ledger VALUES (99, 1.0, 'a', 'b', 'c', '', '{}', 'p', 'h')")
    said = project("keys", "new")
    assert said.returncode == 0 and said.stdout.startswith("gw-")
    assert "no checkpoint of the ledger could be written" in said.stderr
