"""The command line with its state in PostgreSQL."""

from __future__ import annotations

import json

import pytest
from postgres_rig import PASSWORD

from guideway.kit.process import free_port


@pytest.fixture
def shared(project, postgres):
    """A project whose state is on a server, as the environment says."""
    project.environment["GUIDEWAY_STATE"] = postgres.fresh()
    return project


def everything(project) -> bytes:
    return b"".join(path.read_bytes() for path in project.folder.rglob("*") if path.is_file())


def test_every_verb_that_shows_things_works_on_a_server(shared):
    for verb in (["status"], ["releases"], ["audit"], ["plan"], ["keys", "list"], ["audit", "verify"]):
        said = shared(*verb, "--json")
        assert said.returncode == 0, said.stderr
        json.loads(said.stdout)
    assert not (shared.folder / ".guideway" / "state.db").exists()


def test_what_one_verb_writes_the_next_one_reads(shared):
    key = json.loads(shared("keys", "new", "--label", "me", "--json").stdout)["key"]
    assert key.startswith("gw-") and "me" in shared("keys", "list").stdout
    assert shared("audit", "checkpoint").returncode == 0
    assert "2 lines, chain whole; 1 checkpoints, 0 lines after the last" in shared("audit", "verify").stdout
    assert PASSWORD.encode() not in everything(shared) and b"s3cret" not in everything(shared)


def test_two_folders_share_the_state_that_the_spec_names(project, postgres, guideway):
    url = postgres.fresh()
    spec = project.folder / "guideway.yaml"
    spec.write_text(spec.read_text() + "state: {url: '${STATE_URL}'}\n")
    assert project("keys", "new", "--label", "shared", STATE_URL=url).returncode == 0
    (guideway.folder / "elsewhere").mkdir()
    (guideway.folder / "elsewhere" / "guideway.yaml").write_text(spec.read_text())
    assert "shared" in guideway("keys", "list", "-f", "elsewhere/guideway.yaml", STATE_URL=url).stdout


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("s3cret", "wr0ng"), "the database refused the user or the password"),
        (("/state_", "/nowhere_"), "there is no such database"),
        (("postgresql://", "oracle://"), "state.url: 'oracle' is no database that state can be kept in"),
    ],
)
def test_a_state_that_cannot_be_opened_is_one_line_without_a_secret(project, postgres, change, says):
    said = project("status", GUIDEWAY_STATE=postgres.fresh().replace(*change, 1))
    assert said.returncode in (2, 5) and says in said.stderr
    assert len(said.stderr.splitlines()) == 1 and "s3cret" not in said.stderr and "wr0ng" not in said.stderr


def test_a_server_that_is_not_there_is_one_line(project):
    said = project("keys", "new", GUIDEWAY_STATE=f"postgresql://ann:s3cret@127.0.0.1:{free_port()}/x")
    assert said.returncode == 5 and "the database server does not answer" in said.stderr
    assert len(said.stderr.splitlines()) == 1 and "s3cret" not in said.stderr


def test_a_verb_that_needs_no_state_asks_for_none(project):
    for verb in ("check", "logs", "doctor"):
        assert project(verb, GUIDEWAY_STATE="postgresql://ann:s3cret@127.0.0.1:1/x").returncode in (0, 5)
    said = project("check", GUIDEWAY_STATE="nonsense", PYTHONPROFILEIMPORTTIME="1")
    assert said.returncode == 0 and "sqlalchemy" not in said.stderr
