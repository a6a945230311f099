"""`guideway push`, `pull`, `export` and `import` as a person calls them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from registry_rig import Registry, Store

from guideway.signing.keys import signer
from guideway.store import evidence
from shell_rig import call


class Project:
    """A project folder with a spec, and a store that may have a release in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith("GUIDEWAY")}
        self.environment["DOCKER_CONFIG"] = str(folder / "none")
        folder.mkdir()
        assert self("init", "small").returncode == 0
        self.folder = folder / "small"
        self.store = Store(self.folder / ".guideway")

    def __call__(self, *argv: str, type_in: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
        return call(argv, self.folder, {**self.environment, **variables}, typed=type_in)

    def data(self, *argv: str, type_in: str = "", **variables: str) -> dict[str, object]:
        """The data of the last line of a verb that goes well."""
        said = self(*argv, "--json", type_in=type_in, **variables)
        assert said.returncode == 0, said.stderr
        last = json.loads(said.stdout.splitlines()[-1])
        assert last["event"] == "note" and last["text"]
        return last["data"] | {"text": last["text"]}

    def numbers(self) -> list[tuple[str, int, str]]:
        return [(one["name"], one["number"], one["digest"]) for one in json.loads(self("releases", "--json").stdout)]

    def remembered(self) -> list[tuple[str, str]]:
        return [(one["what"], one["subject"]) for one in json.loads(self("audit", "--json").stdout)]


@pytest.fixture
def giver(tmp_path) -> Project:
    return Project(tmp_path / "giver")


@pytest.fixture
def taker(tmp_path, giver) -> Project:
    project = Project(tmp_path / "taker")
    project.store.trust(giver.store)
    return project


@pytest.fixture(scope="module")
def guarded(tmp_path_factory, authority):
    registry = Registry(tmp_path_factory.mktemp("verbs") / "registry", users={"ann": "pass-7392"}, tls=authority)
    yield registry
    registry.stop()


def test_a_release_goes_through_a_registry_and_a_second_time_nothing_moves(guarded, authority, giver, taker):
    release = giver.store.seal(5000, name="small")
    where, ca = f"{guarded.host}/team/small:v1", ("--ca", str(authority.file))
    login = {"GUIDEWAY_REGISTRY_USER": "ann", "GUIDEWAY_REGISTRY_PASSWORD": "pass-7392"}
    sent = giver.data("push", where, *ca, "--username", "ann", "--password-stdin", type_in="pass-7392\n")
    assert sent["release"] == release and sent["moved"] and f"is now at {where}" in sent["text"]
    got = taker.data("pull", where, *ca, **login)
    assert got["release"] == release and got["bytes"] == sent["bytes"] > 5000
    assert taker.numbers() == [("small", 1, release)] and ("pull", release) in taker.remembered()
    assert taker("verify", "1").returncode == 0
    again = [giver.data("push", "1", where, *ca, **login), taker.data("pull", where, *ca, **login)]
    assert [(one["moved"], one["bytes"]) for one in again] == [(0, 0), (0, 0)]
    assert "had all of" in again[0]["text"] and "nothing was transferred" in again[1]["text"]
    assert len(taker.remembered()) == 2  # pulled and scanned, once


def test_a_release_goes_through_one_file(giver, taker):
    release = giver.store.seal(5000, name="small")
    assert giver.data("export", "small.tar")["release"] == release
    shutil.copy(giver.folder / "small.tar", taker.folder / "came.tar")
    got = taker.data("import", "came.tar")
    assert got["release"] == release and "whole and signed" in got["text"]
    assert taker.numbers() == [("small", 1, release)] and [what for what, _ in taker.remembered()] == [
        "scanned",
        "import",
    ]
    assert taker("verify").returncode == 0
    assert "nothing was transferred" in taker.data("import", "came.tar")["text"]
    assert taker.data("export", "1", "back.tar")["release"] == release
    assert (taker.folder / "back.tar").read_bytes() == (giver.folder / "small.tar").read_bytes()


def test_progress_is_told_as_it_goes(giver):
    giver.store.seal(5000, name="small")
    lines = [json.loads(line) for line in giver("export", "small.tar", "--json").stdout.splitlines()]
    assert {"progress", "finished", "note"} <= {line["event"] for line in lines}
    assert lines[0]["total"] > 0.005 and lines[0]["note"] == "MB"


@pytest.mark.catalogue("B38")
def test_what_arrives_is_scanned_here_whatever_its_maker_said(giver, taker):
    giver.store.seal(name="small")
    giver("export", "small.tar")
    said = taker("import", str(giver.folder / "small.tar"))
    assert said.returncode == 0 and "SEC-01 and SEC-04 will say so" in said.stdout  # noise is no safetensors
    with taker.store.database() as database:
        facts = {one.evidence.metric: one for one in evidence.all_of(database)}
    assert facts["unsafe_files"].evidence.value == 2 and facts["unsafe_files"].evidence.subject.role == "package"


def test_a_release_of_a_stranger_is_refused_and_not_listed(giver, tmp_path):
    giver.store.seal(name="small")
    giver("export", "small.tar")
    other = Project(tmp_path / "other")
    signer(other.folder / ".guideway" / "keys")
    said = other("import", str(giver.folder / "small.tar"))
    assert said.returncode == 4 and "no trusted key signed this release" in said.stderr
    assert len(said.stderr.splitlines()) == 1
    assert other.numbers() == [] and other.store.kept() == {} and other.remembered() == []


def test_a_wrong_password_is_one_line_that_does_not_show_it(guarded, authority, giver):
    giver.store.seal(name="small")
    argv = ("push", f"{guarded.host}/x", "--ca", str(authority.file), "--username", "ann", "--password-stdin")
    said = giver(*argv, type_in="wrong-5521\n", GUIDEWAY_DEBUG="1")
    assert said.returncode == 5 and len(said.stderr.splitlines()) == 1 and "refuses these" in said.stderr
    assert "5521" not in said.stdout + said.stderr


@pytest.mark.parametrize(
    ("argv", "code", "says"),
    [
        (["push"], 2, "give a reference"),
        (["export", "a", "b", "c"], 2, "give a file"),
        (["pull"], 2, "missing argument"),
        (["pull", "small:v1"], 2, "a reference names the registry's host first"),
        (["pull", "169.254.169.254/x"], 2, "this address is no registry's"),
        (["pull", "localhost:1/x", "--username", "ann"], 2, "only used together"),
        (["pull", "localhost:1/x", "--password-stdin"], 2, "only used together"),
        (["pull", "localhost:1/x", "--ca", "none.pem"], 2, "no certificate in this file"),
        (["pull", "localhost:1/x"], 5, "nothing answers at this address"),
        (["push", "localhost:1/x"], 2, "there is no release of 'small' yet"),
        (["push", "7", "localhost:1/x"], 2, "no release here is called '7'"),
        (["push", "localhost:1/x", "--mount", "../x"], 2, "not the name of a repository"),
        (["export", "a.tar"], 2, "there is no release of 'small' yet"),
        (["import", "none.tar"], 2, "there is no such file"),
        (["import", "guideway.yaml"], 4, "not a tar file with a release"),
    ],
)
def test_a_mistake_is_one_line_with_its_exit_code(giver, argv, code, says):
    said = giver(*argv)
    assert said.returncode == code and says in said.stderr.lower().replace("guideway: ", "")
    assert len(said.stderr.splitlines()) == 1 and said.stdout == ""
