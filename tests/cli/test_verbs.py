"""Verbs that need no model: help, init, check, plan, doctor, schema, and every kind of mistake."""

from __future__ import annotations

import json
import socket
import sqlite3
import subprocess
import sys

import pytest

from guideway.cli import SECTIONS, module_of
from guideway.cli.up import _show
from guideway.core.errors import EXIT_CODES
from guideway.core.rollout import EnvironmentState, Phase, Rollout
from guideway.core.route import Arm, Route
from guideway.core.spec import Gateway, json_schema
from guideway.store import fleet
from guideway.store.database import Database
from guideway.store.home import Home

VERBS = [verb for section in SECTIONS.values() for verb in section]


def test_help_names_every_verb_and_every_exit_code(guideway):
    said = guideway("--help")
    assert said.returncode == 0
    for word in (*VERBS, *map(str, EXIT_CODES)):
        assert word in said.stdout


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(guideway, verb):
    said = guideway(verb, "--help")
    assert said.returncode == 0 and "Usage: guideway" in said.stdout
    assert len(said.stdout.splitlines()) > 4


def test_help_imports_nothing_heavy(guideway):
    said = guideway("--help", PYTHONPROFILEIMPORTTIME="1")
    assert "guideway.core.errors" in said.stderr
    for heavy in (
        "torch",
        "transformers",
        "onnxruntime",
        "numpy",
        "rich",
        "cryptography",
        "sqlite3",
        "sqlalchemy",
        "yaml",
    ):
        assert f" {heavy}\n" not in said.stderr, heavy


@pytest.mark.parametrize(
    ("argv", "code", "says"),
    [
        (["biuld"], 2, "there is no verb 'biuld' (did you mean 'build'?)"),
        (["plan", "--nope"], 2, "no such option"),
        (["check"], 2, "guideway.yaml: there is no spec here (`guideway init` makes one)"),
        (["plan", "-f", "other.yaml"], 2, "other.yaml: there is no spec here"),
        (["logs", "extra", "args"], 2, "unexpected extra argument"),
    ],
)
def test_a_mistake_is_one_line_with_its_exit_code(guideway, argv, code, says):
    said = guideway(*argv)
    assert said.returncode == code
    assert says.lower() in said.stderr.lower()
    assert len(said.stderr.splitlines()) == 1 and said.stdout == ""


def test_init_makes_a_project_that_checks(project):
    assert project("check").returncode == 0
    assert "name: small" in (project.folder / "guideway.yaml").read_text()


@pytest.mark.parametrize("folder", ["新 目录", "Ünï", "x" * 90, "..dots..", "a b'c"])
def test_init_gives_a_name_that_is_one_whatever_the_folder_is_called(guideway, folder):
    assert guideway("init", folder).returncode == 0
    assert guideway("check", "-f", f"{folder}/guideway.yaml").returncode == 0


def test_init_never_overwrites(project):
    said = project("init")
    assert said.returncode == 2 and "a project here already" in said.stderr


def test_the_plan_of_a_new_project_runs_every_stage_in_order(project):
    steps = json.loads(project("plan", "--json").stdout)
    assert [step["stage"] for step in steps] == ["data", "train", "compress", "evaluate", "guard", "package", "scan"]
    assert all(step["runs"] for step in steps)
    assert "never ran" in project("plan").stdout


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("engine: onnx", "engine: onix", "there is no engine called 'onix' (did you mean 'onnx'?)"),
        ("path: data/questions.jsonl", "path: data/none.jsonl", "data/none.jsonl"),
        ("replicas: 2", "target: moon", "there is no target called 'moon'"),
        ("steps: 250", "stepps: 250", "unknown key 'stepps' (did you mean 'steps'?)"),
    ],
)
def test_check_names_the_line_of_a_dangling_name(project, old, new, says):
    path = project.folder / "guideway.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    said = project("check")
    assert said.returncode == 2 and says in said.stderr
    line = next(number for number, line in enumerate(path.read_text().splitlines(), 1) if new in line)
    assert any(f"guideway.yaml:{near}:" in said.stderr for near in (line, line - 1)), said.stderr


@pytest.mark.parametrize("verb", ["status", "releases", "audit", "logs"])
def test_a_verb_that_shows_things_has_something_to_say_when_there_is_nothing(project, verb):
    said = project(verb)
    assert said.returncode == 0
    assert verb == "logs" or said.stdout.strip()


@pytest.mark.parametrize("verb", [["status"], ["releases"], ["audit"], ["plan"], ["keys", "list"], ["doctor"]])
def test_every_verb_that_shows_things_speaks_json(project, verb):
    json.loads(project(*verb, "--json").stdout)


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["ship"], "there is no release of 'small' yet"),
        (["ship", "abcdef"], "no release here is called 'abcdef'"),
        (["rollback"], "nothing serves in 'dev'"),
        (["down"], "nothing was ever shipped to 'dev'"),
        (["verify"], "there is no release of 'small' yet"),
        (["status", "-e", "prodd"], "did you mean 'prod'?"),
        (["keys", "revoke", "1234"], "there is no key '1234'"),
        (["logs", "nothing"], "there is no log 'nothing'"),
    ],
)
def test_asking_too_early_says_what_comes_first(project, argv, says):
    said = project(*argv)
    assert said.returncode == 2 and says in said.stderr


def test_a_rollback_to_a_release_that_is_not_warm_waits_for_a_controller_and_says_how_it_went(project):
    home, old, new = Home.of(project.folder), "sha256:" + "0" * 64, "sha256:" + "1" * 64
    rollout = Rollout("r1", "dev", new, old, Phase.DONE, 1.0, 1.0, ready_within=20.0, bake=0.0)
    with Database(home.database) as database:
        fleet.put_environment(database, EnvironmentState("dev", "small", "local", 1, Gateway(port=0)))
        fleet.begin_rollout(database, rollout)
        fleet.put_route(database, Route("dev", "small", 1, fleet.take_epoch(database), Arm(new, ())))
    said = project("rollback", GATEWAY_PORT="0")
    assert project("down", GATEWAY_PORT="0").returncode == 0
    assert "that release is no longer warm: starting it" in said.stdout
    assert "it was never admitted into 'dev'" in said.stderr
    assert said.returncode != 0


@pytest.mark.parametrize("key", ["port", "admin"])
def test_a_port_that_is_in_use_is_told_before_anything_is_built(project, key):
    path = project.folder / "guideway.yaml"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        path.write_text(path.read_text() + f"  lab:\n    gateway:\n      {key}: {port}\n")
        said = project("up", "-e", "lab", GATEWAY_PORT="0")
    line = len(path.read_text().splitlines())
    assert said.returncode == 5 and f"guideway.yaml:{line}: 127.0.0.1:{port}: port {port} is in use" in said.stderr
    assert not said.stdout


def test_a_key_is_shown_once_and_only_its_digest_is_kept(project):
    key = json.loads(project("keys", "new", "--label", "me", "--json").stdout)["key"]
    listed = json.loads(project("keys", "list", "--json").stdout)
    assert key.startswith("gw-") and [one["label"] for one in listed] == ["me"]
    everything = b"".join(path.read_bytes() for path in project.folder.rglob("*") if path.is_file())
    assert key.encode() not in everything
    assert project("keys", "revoke", listed[0]["id"]).returncode == 0
    assert json.loads(project("keys", "list", "--json").stdout)[0]["revoked"] is True


def test_the_ledger_remembers_and_finds_a_change(project):
    project("keys", "new")
    assert "chain whole" in project("audit", "verify").stdout
    assert "key made" in project("audit").stdout
    with sqlite3.connect(project.folder / ".guideway" / "state.db") as database:
        database.execute("DROP TRIGGER ledger_keeps_what_is_written")
        database.execute("UPDATE ledger SET who = 'nobody'")
    said = project("audit", "verify")
    assert said.returncode == 4 and "line 1 was changed" in said.stderr


def test_a_damaged_state_is_told_and_nothing_is_overwritten(project):
    project("status")
    path = project.folder / ".guideway" / "state.db"
    path.write_bytes(b"garbage" * 1000)
    said = project("status")
    assert said.returncode == 4 and "the state file is damaged" in said.stderr
    assert path.read_bytes() == b"garbage" * 1000


def test_the_schema_is_the_schema(guideway):
    assert json.loads(guideway("schema").stdout) == json_schema()


def test_the_doctor_looks_at_this_machine(guideway):
    said = guideway("doctor")
    assert "Python 3.11 or newer" in said.stdout and "libraries to serve" in said.stdout


def test_the_doctor_says_how_to_get_what_is_missing(guideway):
    hidden = guideway.folder / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text("import sys; sys.modules['torch'] = None")
    said = guideway("doctor", PYTHONPATH=str(hidden), COLUMNS="200")
    assert said.returncode == 5 and "pip install 'guideway[train]'" in said.stdout


def test_completion_knows_the_verbs(guideway):
    said = guideway("ro", _GUIDEWAY_COMPLETE="bash_complete", COMP_WORDS="guideway ro", COMP_CWORD="1")
    assert "rollback" in said.stdout


def test_no_verb_needs_a_library_that_the_core_install_lacks(guideway):
    imports = "; ".join(f"import {module_of(verb)}" for verb in VERBS)
    code = f"import sys; {imports}; print(*sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    loaded = {name.partition(".")[0] for name in said.stdout.split()}
    assert "click" in loaded
    assert not loaded & {
        "torch",
        "transformers",
        "onnxruntime",
        "numpy",
        "jinja2",
        "tokenizers",
        "safetensors",
        "onnx",
        "psycopg",
    }


def test_the_logs_of_one_environment_are_not_shown_for_another(project):
    home = Home.of(project.folder)
    for name in ("dev", "prod"):
        for folder in (home.logs / name, home.run / "env" / name):
            folder.mkdir(parents=True)
        (home.logs / name / "gateway.log").write_text(f"a line of {name}\n")
    assert project("logs", "gateway", "-e", "prod").stdout == "a line of prod\n"
    assert project("logs").stdout == "dev/gateway\n"
    assert project("logs", "gateway", "-n", "-5").returncode == 2


def test_a_url_that_is_not_known_yet_is_not_made_up(capsys):
    _show(None, "poet", "gw-1", "chat", None)
    said = capsys.readouterr().out
    assert "URL    not known yet: `guideway status` shows it" in said and "curl $URL/chat/completions" in said


@pytest.mark.parametrize(("key", "shown"), [("gw-1", "Bearer gw-1"), (None, "Bearer $GUIDEWAY_KEY")])
def test_the_line_for_curl_is_one_that_a_shell_can_run(capsys, monkeypatch, key, shown):
    _show("http://127.0.0.1:8080/v1", "poet", key, "chat", None)
    line = capsys.readouterr().out.partition("curl ")[2].partition("\n\n")[0]
    monkeypatch.setenv("GUIDEWAY_KEY", "gw-2")
    said = subprocess.run(["sh", "-c", f"printf '%s\\n' {line}"], capture_output=True, text=True, check=True).stdout
    assert f"Authorization: {shown.replace('$GUIDEWAY_KEY', 'gw-2')}" in said.splitlines()


def test_a_classifier_is_asked_over_the_protocol_that_it_speaks(capsys):
    _show("http://127.0.0.1:8080/v1", "intents", "gw-1", "classify", None)
    said = capsys.readouterr().out
    assert "curl http://127.0.0.1:8080/v2/models/intents/infer" in said
    body = json.loads(said.partition("-d '")[2].partition("'")[0])
    assert body["inputs"][0]["data"] == ["Hello, is anybody there?"]
