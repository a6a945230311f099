"""From data to a served token and back, through the command line and the openai client."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import threading
from typing import Any

import openai
import pytest
from journey_rig import Service, eventually

from guideway.kit.process import free_port

pytestmark = pytest.mark.journey
LAB = ("  prod:\n", "  lab:\n    standard: {level: dev}\n")
"""A second environment, judged as dev: what prod asks, a sample of 310 rows cannot prove."""


def test_the_first_build_runs_every_stage_and_judges(built):
    events = built.first_events
    finished = [event["step"] for event in events if event["event"] == "finished"]
    assert finished == ["data", "train", "compress", "evaluate", "guard", "package", "scan"]
    verdicts = {
        event["data"]["clause"]: event["data"]["verdict"] for event in events if "clause" in event.get("data", {})
    }
    proven = {"DAT-02", "EVL-01", "ROB-04", "CMP-01", "SEC-01", "SEC-04", "REL-01", "SPEC-1", "TRN-03"}
    assert {clause for clause, verdict in verdicts.items() if verdict == "PASS"} == proven
    missing = {"DAT-01", "TRN-02", "EVL-03", "ROB-05"}  # 40 rows, unlocked, undescribed, without a reference
    by_processor = {"CMP-02"}  # of so few outputs the largest difference is above its limit, or too few are proven
    assert set(verdicts) - proven - by_processor == missing


def test_the_scan_of_what_ships_found_nothing(built):
    told = {event["step"]: event["facts"] for event in built.first_events if event["event"] == "finished"}
    assert any("nothing unsafe, no secret" in fact for fact in told["scan"])


def test_the_openai_client_gets_an_answer_whole_and_streamed(service):
    whole = service.ask()
    assert whole.choices[0].finish_reason == "stop" and whole.usage.completion_tokens >= 1
    pieces = [chunk.choices[0].delta.content or "" for chunk in service.ask(stream=True) if chunk.choices]
    assert "".join(pieces) == whole.choices[0].message.content != ""


def test_what_it_learned_it_answers_through_the_gateway(service):
    asked = {"What comes after Monday?": "Tuesday", "Name the month that comes after March.": "April"}
    answers = {question: service.ask(question).choices[0].message.content for question in asked}
    assert answers == asked


def test_models_lists_the_model_and_a_stranger_is_refused(service):
    assert [model.id for model in service.client().models.list()] == ["days"]
    with pytest.raises(openai.AuthenticationError):
        service.client("gw-wrong").models.list()
    with pytest.raises(openai.NotFoundError, match="days"):
        service.client().chat.completions.create(model="nights", messages=[{"role": "user", "content": "x"}])


@pytest.mark.catalogue("A38")
def test_an_unchanged_up_runs_nothing_and_starts_nothing(service):
    before = service.status()
    events = service.up()
    assert all(event["cached"] for event in events if event["event"] == "finished")
    assert not any(event["event"] == "started" for event in events)
    assert service.status()["replicas"] == before["replicas"]
    assert not any(step["runs"] for step in service.json("plan"))


def test_status_knows_every_process(service):
    found = service.status()
    assert [one["state"] for one in found["replicas"]] == ["ready", "ready"]
    assert len(found["alive"]) == 2 and found["gateway"] and found["controller"]
    assert found["rollout"]["phase"] == "done"


def test_status_and_logs_are_for_people_too(service):
    told = service("status").stdout
    for word in (
        "gateway      http://127.0.0.1:",
        "controller   running",
        "stable       days:1",
        "last rollout",
        "ready",
    ):
        assert word in told
    names = service("logs").stdout.split()
    assert any("gateway" in name for name in names) and any("replica" in name for name in names)
    assert "listens on 127.0.0.1" in service("logs", next(name for name in names if "replica" in name)).stdout


def test_a_second_release_takes_over_and_a_rollback_brings_the_first_one_back(service):
    first = service.release_that_answers()
    service.edit('intended_use: ""', "intended_use: the days of the week")
    events = service.up()
    assert [event["step"] for event in events if event["event"] == "started"] == ["package", "scan"]
    second = eventually(lambda: (now := service.release_that_answers()) != first and now)
    assert "serves in 'dev' again" in service("rollback").stdout
    assert eventually(lambda: service.release_that_answers() == first)
    service("rollback", "--to", second)
    assert eventually(lambda: service.release_that_answers() == second)
    service("rollback", "--to", first)


def test_a_broken_template_is_refused_and_what_serves_goes_on(service):
    serving = service.release_that_answers()
    count = len(service.json("releases"))
    (service.folder / "broken.jinja").write_text("{{ messages[0].content[:3] }}")
    service.edit("engine: onnx", "engine: onnx\n  prompt: {template: broken.jinja}")
    said = service("build", code=3)
    assert "seal refused" in said.stderr and "SPEC-1 FAIL: exact_match on unseen-phrasings" in said.stderr
    assert len(service.json("releases")) == count
    assert service.release_that_answers() == serving


@pytest.mark.catalogue("A30")
def test_one_flipped_bit_in_a_copy_is_found_and_the_blob_named(service, tmp_path):
    shutil.copytree(service.folder / ".guideway" / "oci", tmp_path / "copy")
    service("verify", "--layout", str(tmp_path / "copy"))
    layer = max(service.layers().values(), key=lambda layer: layer["size"])
    blob = tmp_path / "copy" / "blobs" / "sha256" / layer["digest"].removeprefix("sha256:")
    changed = bytearray(blob.read_bytes())
    changed[len(changed) // 2] ^= 1
    blob.chmod(0o644)
    blob.write_bytes(changed)
    assert blob.name in service("verify", "--layout", str(tmp_path / "copy"), code=4).stderr


def test_a_killed_replica_is_replaced_and_no_request_fails(service):
    def serving() -> list[dict[str, Any]]:
        found = service.status()
        return [one for one in found["replicas"] if one["release"] == found["route"]["stable"]["release"]]

    victim = serving()[0]
    failures: list[Exception] = []
    stop = threading.Event()

    def ask_on() -> None:
        while not stop.is_set():
            try:
                service.ask(max_tokens=1)
            except openai.OpenAIError as error:
                failures.append(error)

    def replaced() -> bool:
        now = serving()
        return len(now) == 2 and all(one["state"] == "ready" and one["id"] != victim["id"] for one in now)

    asking = threading.Thread(target=ask_on)
    asking.start()
    try:
        os.kill(victim["process"]["pid"], signal.SIGKILL)
        eventually(replaced)
    finally:
        stop.set()
        asking.join()
    assert failures == []


@pytest.mark.catalogue("A1")
def test_traffic_goes_on_without_a_controller_and_the_next_one_adopts_what_runs(service):
    before = service.status()
    controller = next(line for line in service.processes() if "guideway.fleet" in line)
    os.kill(int(controller.split()[0]), signal.SIGKILL)
    eventually(lambda: not service.status()["controller"])
    assert service.ask().choices[0].message.content
    service.up()
    after = eventually(lambda: (now := service.status())["controller"] and now)
    assert after["replicas"] == before["replicas"] and after["gateway"] == before["gateway"]


def test_rollback_works_while_no_controller_runs(service):
    service.edit('limits: ""', "limits: it knows nothing else")
    first = service.release_that_answers()
    service.up()
    controller = next(line for line in service.processes() if "guideway.fleet" in line)
    os.kill(int(controller.split()[0]), signal.SIGKILL)
    service("rollback")
    assert eventually(lambda: service.release_that_answers() == first)
    assert not service.status()["controller"]


@pytest.mark.thorough
def test_drills_done_for_real_prove_their_clauses_and_leave_everything_as_it_was(service):
    first = service.release_that_answers()
    service.edit('oversight: ""', "oversight: whoever runs it")
    service.up()
    second = eventually(lambda: (now := service.release_that_answers()) != first and now)
    for name in ("rollback", "replica", "controller", "cache"):
        held = service("drill", name, "--json").stdout
        assert '"passed": true' in held
    assert service.release_that_answers() == second
    keys = [key for key in service.json("keys", "list") if key["label"].startswith("drill")]
    assert len(keys) == 4 and all(key["revoked"] for key in keys)
    (service.folder / "runbook.json").write_text('{"metric": "runbook", "value": 1}')
    service("signers", "new", "ann")
    service("evidence", "import", "runbook.json", "--clause", "OPS-06", "--as", "ann")
    verdicts = {one["clause"]: one["verdict"] for one in service.json("assess")["judgements"]}
    assert (verdicts["REL-03"], verdicts["OPS-06"]) == ("PASS", "PASS")


def test_other_settings_of_the_gateway_are_served_without_a_gap_and_impossible_ones_are_undone(service):
    before = service.status()
    broken = "\n  tls: {certificate: none.pem}"
    service.edit("port: ${GATEWAY_PORT:-8080}", "port: ${GATEWAY_PORT:-8080}" + broken)
    said = service("up", code=1)
    assert "the gateway keeps its settings: " in said.stderr and "none.pem" in said.stderr
    assert len(said.stderr.strip().splitlines()) == 1
    after = service.status()
    assert (after["gateway"], after["state"]["gateway"]) == (before["gateway"], before["state"]["gateway"])
    service.edit(broken, "\n  body_megabytes: 8")
    service.up()
    after = service.status()
    assert (after["gateway"], after["state"]["gateway"]["body_megabytes"]) == (before["gateway"], 8)
    assert service.ask().choices[0].message.content
    service.edit("\n  body_megabytes: 8", "")
    service.up()


def test_a_port_in_use_is_one_clear_line_and_leaves_nothing_running(service):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        service.edit("port: ${PROD_PORT:-8082}", f"port: {port}")
        service.edit(*LAB)
        said = service("ship", "-e", "lab", code=5)
    assert f"127.0.0.1:{port}: port {port} is in use" in said.stderr and "guideway.yaml:" in said.stderr
    assert service.json("status", "-e", "lab")["state"] is None
    assert service.status()["alive"]


def test_a_changed_blob_never_loads(service):
    path = "model/model.onnx"
    layer = service.layers()[path]
    service.edit(*LAB)
    release = service.stable()
    blob = service.blobs / layer["digest"].removeprefix("sha256:")
    good = blob.read_bytes()
    controller = next((line for line in service.processes() if "guideway.fleet" in line), None)
    if controller:  # one that has not verified this release yet must do it
        os.kill(int(controller.split()[0]), signal.SIGKILL)
    blob.chmod(0o644)
    blob.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    try:
        said = service("ship", "-e", "lab", release, code=1)
        assert layer["digest"] in said.stderr and "not what its digest says" in said.stderr
        service("verify", release, code=4)
        assert f"dropped {path}" in service("verify", release, "--discard", code=4).stdout
        service("build")  # makes the same bytes again
        service("verify", release)
    finally:
        blob.unlink(missing_ok=True)
        blob.write_bytes(good)
        service("down", "-e", "lab")
    service("verify", release)


def test_two_ups_at_once_end_in_one_release(service):
    service.edit('contact: ""', "contact: whoever runs it")
    results: list[int] = []

    def up() -> None:
        try:
            service("up", "--json")
            results.append(0)
        except AssertionError as error:
            results.append(1 if "replaced by" in str(error) else 2)

    threads = [threading.Thread(target=up) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 0 in results and 2 not in results
    sealed = service.json("releases")
    assert len({one["digest"] for one in sealed}) == len(sealed)
    assert sealed[0]["stable"]


def test_down_leaves_nothing_and_up_starts_it_again(built):
    built("down")
    eventually(lambda: not built.processes())
    found = built.status()
    assert found["replicas"] == [] and found["gateway"] is None and not found["controller"]
    port = found["state"]["port"]
    begun = built.up("--no-wait")[-1]
    assert "has begun" in begun["text"] and f":{port}/" in built.url
    eventually(lambda: built.status()["rollout"]["phase"] == "done")
    assert built.status()["state"]["port"] == port
    assert built.ask().choices[0].message.content


def test_a_copied_state_has_processes_of_its_own_which_end_when_it_is_deleted(service, tmp_path):
    shutil.copytree(service.folder, tmp_path / "days", ignore=shutil.ignore_patterns("run"))
    before = service.status()
    other = Service(tmp_path / "days")
    other.edit("port: ${GATEWAY_PORT:-8080}", f"port: {free_port()}")
    other("ship")
    assert {one["id"] for one in other.status()["replicas"]}.isdisjoint(one["id"] for one in before["replicas"])
    shutil.rmtree(other.folder / ".guideway")
    eventually(lambda: not other.processes())
    assert service.status()["alive"] == before["alive"]


def test_the_ledger_holds_the_whole_story(service):
    assert "chain whole" in service("audit", "verify").stdout
    told = {line["what"] for line in service.json("audit", "log", "-n", "500")}
    assert {"stage train", "seal", "admit", "ship", "rollout done", "rollback", "seal refused", "down"} <= told
