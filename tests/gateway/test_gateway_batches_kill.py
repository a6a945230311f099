"""A service that is killed, stopped or starved of disk loses nothing, and repeats nothing that was answered."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from collections import Counter

import pytest
from batches_rig import FINAL, Running, batch_client, batch_service, begin, ended, gateway_port, line, results
from gateway_rig import wait_for

pytestmark = pytest.mark.thorough

__all__ = ["batch_client", "batch_service", "gateway_port"]


def saved(service, batch_id) -> set[int]:
    """The numbers of the lines whose answers are whole in the journal."""
    try:
        data = (service.folder / "batches" / "journals" / batch_id).read_bytes()
    except FileNotFoundError:
        return set()
    return {int(one.split(b" ", 2)[1]) for one in data.split(b"\n")[:-1]}


@pytest.mark.catalogue("A28")
def test_killed_at_many_points_it_loses_nothing_and_repeats_nothing_that_was_answered(
    batch_service, batch_client, gateway_port
):
    dice, count = random.Random(4), 300
    batch = begin(batch_client, b"".join(line(number) for number in range(count)))
    for _ in range(12):
        goal = len(gateway_port.asked) + dice.randrange(1, 25)
        wait_for(lambda goal=goal: len(gateway_port.asked) >= goal or _over(batch_service, batch.id), 30, "some lines")
        batch_service.kill()
        safe, asked = saved(batch_service, batch.id), len(gateway_port.asked)
        batch_service.start()
        wait_for(lambda asked=asked: len(gateway_port.asked) > asked or _over(batch_service, batch.id), 30, "more")
        again = {int(text.split()[1]) for text in gateway_port.texts[asked:]}
        assert not again & safe
    done = ended(batch_client, batch.id)
    assert (done.status, done.request_counts.completed) == ("completed", count)
    found = results(batch_client, done.output_file_id)
    assert [one["custom_id"] for one in found] == [f"id-{number}" for number in range(count)]
    assert Counter(one["id"] for one in found).most_common(1)[0][1] == 1
    assert batch_service.shelf("journals") == batch_service.shelf("parts") == []


def _over(service, batch_id) -> bool:
    return service.client().batches.retrieve(batch_id).status in FINAL


@pytest.mark.catalogue("A28")
def test_killed_while_the_result_files_are_written_it_leaves_no_stray_file(batch_service, batch_client, gateway_port):
    for _ in range(6):
        gateway_port.hold.add("line 7")
        batch = begin(batch_client, b"".join(line(number) for number in range(8)))
        wait_for(lambda batch=batch: len(saved(batch_service, batch.id)) == 7, what="all but one")
        known = set(batch_service.shelf("files"))
        gateway_port.hold.clear()
        wait_for(
            lambda batch=batch, known=known: (
                len(saved(batch_service, batch.id)) != 7 or set(batch_service.shelf("files")) - known
            ),
            what="the last answer",
        )
        batch_service.kill()
        batch_service.start()
        done = ended(batch_client, batch.id)
        assert len(results(batch_client, done.output_file_id)) == 8
        assert set(batch_service.shelf("files")) == {one.id for one in batch_client.files.list(limit=100)}


def test_asked_to_stop_it_saves_what_came_and_asks_nothing_twice(batch_service, batch_client, gateway_port):
    gateway_port.hold.update({"line 4", "line 5", "line 6"})
    batch = begin(batch_client, b"".join(line(number) for number in range(7)))
    wait_for(lambda: gateway_port.now == 3, what="three held")
    assert batch_service.kill(signal.SIGTERM) == 0
    assert saved(batch_service, batch.id) == {0, 1, 2, 3}
    gateway_port.hold.clear()
    batch_service.start()
    assert ended(batch_client, batch.id).request_counts.completed == 7
    assert Counter(gateway_port.texts)["line 0"] == 1


def test_it_leaves_when_its_parent_is_gone(batch_service):
    batch_service.control.close()
    assert batch_service.process.wait(20) == 0


def test_two_never_serve_one_folder(batch_service):
    argv = [sys.executable, "-m", "guideway.gateway.batches", "--settings", str(batch_service.settings)]
    second = subprocess.run(argv, check=False, capture_output=True, timeout=30)
    assert second.returncode == 5
    assert b"served already" in second.stderr
    assert batch_service.client().files.list().data == []


def test_a_gateway_that_is_away_is_waited_for(batch_service, batch_client, gateway_port, loop):
    port = gateway_port.port
    loop.call(gateway_port._server.close)
    batch = begin(batch_client, line(1))
    from batches_rig import GatewayOfPaper

    wait_for(lambda: batch_client.batches.retrieve(batch.id).status == "in_progress", what="being under way")
    back = GatewayOfPaper(loop, port)
    try:
        assert ended(batch_client, batch.id).status == "completed"
        assert back.texts == ["line 1"]
    finally:
        back.die()


@pytest.mark.catalogue("A28")
def test_answers_that_cannot_be_written_wait_until_there_is_room(loop, tmp_path, gateway_port):
    service = Running(loop, tmp_path, gateway_port, concurrent=2).start()
    try:
        client = service.client()
        gateway_port.hold.add("*")
        batch = begin(client, b"".join(line(number) for number in range(400)))
        wait_for(lambda: gateway_port.now == 2, what="the first lines")
        limit = ["prlimit", f"--pid={service.process.pid}"]
        subprocess.run([*limit, "--fsize=60000:unlimited"], check=True)
        gateway_port.hold.clear()
        wait_for(lambda: b"cannot be written" in service.log.read_bytes(), 30, "the disk being full")
        assert client.batches.retrieve(batch.id).status == "in_progress"
        subprocess.run([*limit, "--fsize=unlimited"], check=True)
        done = ended(client, batch.id)
        assert (done.status, done.request_counts.completed) == ("completed", 400)
        assert [one["custom_id"] for one in results(client, done.output_file_id)] == [f"id-{n}" for n in range(400)]
        assert max(Counter(gateway_port.texts).values()) == 1
    finally:
        service.close()


def test_nothing_of_a_prompt_or_a_key_is_logged(batch_service, batch_client, gateway_port):
    gateway_port.statuses["a secret prompt"] = [("500 Internal Server Error", "")]
    ended(batch_client, begin(batch_client, line(1, "a secret prompt") + line(2, "x")).id)
    log = batch_service.log.read_text()
    assert [json.loads(one)["event"] for one in log.splitlines()] == ["batches served", "batch ended"]
    assert "secret" not in log
    assert "key-a" not in log
