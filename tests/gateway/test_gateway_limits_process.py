"""The limiter as a process of its own: real sockets, real rows, kill -9, and two workers that ask at once."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from gateway_rig import wait_for
from limits_rig import PRICE, key

sys.path.append(str(Path(__file__).parents[1] / "store"))

from postgres_rig import postgres

from guideway.core.route import GatewaySettings
from guideway.core.spec.gateway import Limits
from guideway.gateway.errors import ApiError
from guideway.gateway.limits.amounts import Estimate, Used
from guideway.gateway.limits.key_lease import Reservation
from guideway.gateway.limits.line import Line
from guideway.gateway.limits.meter import WAIT
from guideway.gateway.limits.start import command, socket_of, state_of
from guideway.store import usage
from guideway.store.database import Database
from guideway.store.home import Home

pytestmark = pytest.mark.thorough

__all__ = ["postgres"]


class Process:
    """A limiter with its settings in a folder of its own."""

    def __init__(self, home: Home, state: str = "") -> None:
        folder = home.environment("dev")
        folder.mkdir(parents=True)
        self.settings = GatewaySettings("127.0.0.1", 0, 2, "", "", environment="dev", folder=str(folder))
        self.file = folder / "gateway.json"
        self.file.write_bytes(msgspec.json.encode(self.settings))
        self.socket = socket_of(self.settings)
        self.environ = {**os.environ, "GUIDEWAY_STATE": state}
        self.state = state_of(self.settings, self.environ)
        self.start()

    def start(self) -> None:
        Path(self.socket).unlink(missing_ok=True)
        self.process = subprocess.Popen(command(self.file), env=self.environ, stderr=subprocess.PIPE)
        wait_for(lambda: Path(self.socket).exists() or self.process.poll() is not None, 30.0, "the limiter's socket")

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        status = self.process.wait(10)
        self.process.stderr.close()
        return status

    def used(self) -> usage.Use:
        today = int(time.time() // 86_400)
        with Database(self.state) as database:
            found = [usage.of_day(database, day).get("k", usage.Use()) for day in (today - 1, today)]
        return usage.Use(*(sum(values) for values in zip(*found, strict=True)))


class Waiting:
    def __init__(self) -> None:
        self.outcome: Reservation | ApiError | None = None

    def granted(self, outcome) -> bool:
        self.outcome = outcome
        return True


@pytest.fixture
def limiter(tmp_path):
    made = Process(Home.of(tmp_path))
    yield made
    if made.process.poll() is None:
        made.end(signal.SIGKILL)


@pytest.fixture
def lines(loop, limiter):
    """Two workers' connections."""
    made = [Line(limiter.socket, Limits(), PRICE, time.monotonic) for _ in range(2)]
    for one in made:
        loop.call(one.start)
    yield made
    for one in made:
        loop.call(one.leave)


NOTHING = Estimate()


def call(loop, lines, one, count, estimate=NOTHING):
    """*count* calls at once, spread over the workers; those that may run, with their workers, and the errors."""

    def take():
        asked = []
        for number in range(count):
            line, waiting = lines[number % len(lines)], Waiting()
            taken = line.meter.take(one, estimate, waiting)
            if taken is not WAIT:
                waiting.outcome = taken
            asked.append((line, waiting))
        return asked

    asked = loop.call(take)
    wait_for(lambda: all(waiting.outcome is not None for _, waiting in asked), 10.0, "every answer")
    runs = [(line, waiting.outcome) for line, waiting in asked if isinstance(waiting.outcome, Reservation)]
    return runs, [waiting.outcome for _, waiting in asked if isinstance(waiting.outcome, ApiError)]


def settle(loop, runs, used):
    for line, reservation in runs:
        loop.call(line.meter.settle, reservation, used)


@pytest.mark.catalogue("B28")
@pytest.mark.parametrize(
    ("limits", "expected"),
    [({"requests_per_day": 100}, 100), ({"tokens_per_day": 30_000}, 100), ({"money_per_day": 0.04}, 100)],
)
def test_200_parallel_calls_on_two_workers_get_exactly_what_there_is(loop, limiter, lines, limits, expected):
    runs, errors = call(loop, lines, key(**limits), 200, Estimate(200, 100))
    assert len(runs) == expected and {error.status for error in errors} == {429}


def test_what_was_used_is_in_the_rows_within_a_moment_for_keys_without_limits_too(loop, limiter, lines):
    runs, _ = call(loop, lines, key(), 10)
    settle(loop, runs, Used(1, 30, 5))
    wait_for(lambda: limiter.used() == usage.Use(10, 300, 50, 10 * (30 * 1000 + 5 * 2000)))


def test_day_counters_survive_a_restart_and_what_was_not_used_is_not_lost(loop, limiter, lines):
    one = key(requests_per_day=50)
    runs, _ = call(loop, lines, one, 20)
    settle(loop, runs, Used(1, 1, 1))
    wait_for(lambda: limiter.used().requests == 20)
    assert limiter.end() == 0
    limiter.start()
    wait_for(lambda: all(line._frames for line in lines))
    runs, errors = call(loop, lines, one, 60)
    assert len(runs) + len(errors) == 60 and 50 - 20 - 2 * 12 <= len(runs) <= 30


@pytest.mark.catalogue("B28")
def test_a_limiter_that_is_killed_grants_nothing_twice_and_others_run_meanwhile(loop, limiter, lines):
    one = key(requests_per_day=80)
    first, _ = call(loop, lines, one, 40)
    limiter.end(signal.SIGKILL)
    wait_for(lambda: not any(line._frames for line in lines))
    assert len(call(loop, lines, key("free"), 4)[0]) == 4
    held, errors = call(loop, lines, one, 40)
    assert {error.status for error in errors} == {503}
    limiter.start()
    wait_for(lambda: all(line._frames for line in lines))
    last, errors = call(loop, lines, one, 80)
    granted = len(first) + len(held) + len(last)
    assert {error.status for error in errors} == {429} and 80 - 80 // 8 - 1 <= granted <= 80


@pytest.mark.catalogue("B28")
def test_two_hosts_on_one_postgresql_grant_one_budget_together(loop, tmp_path, postgres):
    url, one = postgres.fresh(), key(requests_per_day=100)
    hosts = [Process(Home.of(tmp_path / name), url) for name in ("one", "two")]
    lines = [Line(host.socket, Limits(), PRICE, time.monotonic) for host in hosts for _ in range(2)]
    try:
        for line in lines:
            loop.call(line.start)
        warm = key("warm", requests_per_day=10**6)
        for line in lines:  # a database that is new is prepared first, longer than a request waits
            wait_for(lambda line=line: call(loop, [line], warm, 1)[0], 30.0)
        granted, _ = call(loop, lines, one, 200)
        assert 76 <= len(granted) <= 100  # each host may hold a claim ahead
        settle(loop, granted, Used(1, 1, 1))

        def all_granted() -> bool:
            granted.extend(call(loop, lines, one, 20)[0])
            return len(granted) >= 100

        wait_for(all_granted, 30.0, "what nobody used was given back")
        granted.extend(call(loop, lines, one, 50)[0])
        assert len(granted) == 100
    finally:
        for line in lines:
            loop.call(line.leave)
        assert [host.end() for host in hosts] == [0, 0]


def test_the_socket_is_for_the_owner_alone_and_a_second_limiter_refuses_to_start(limiter):
    assert stat.S_IMODE(Path(limiter.socket).stat().st_mode) == 0o600
    options = {"env": limiter.environ, "capture_output": True, "text": True, "timeout": 60}
    said = subprocess.run(command(limiter.file), check=False, **options)
    assert said.returncode == 5 and "a limiter runs for this gateway" in said.stderr
    assert Path(limiter.socket).exists()


def test_garbage_on_the_socket_ends_that_connection_and_nothing_else(loop, limiter, lines):
    import socket

    wait_for(lambda: all(line._frames for line in lines))
    for data in (b"\xff\xff\xff\xff", b"\0\0\0\1\xc1", b"\0\0\0\3\x91\x91\x01"):
        with socket.socket(socket.AF_UNIX) as one:
            one.settimeout(10)
            one.connect(limiter.socket)
            one.sendall(data)
            assert one.recv(1) == b""
    assert len(call(loop, lines, key(requests_per_day=5), 9)[0]) == 5


def test_a_limiter_ends_when_its_parent_is_gone(limiter):
    import socket

    limiter.end()
    ours, theirs = socket.socketpair()
    with theirs:
        words = [*command(limiter.file), "--control", str(theirs.fileno())]
        process = subprocess.Popen(words, env=limiter.environ, pass_fds=[theirs.fileno()], stderr=subprocess.DEVNULL)
    wait_for(lambda: Path(limiter.socket).exists(), 30.0)
    ours.close()
    assert process.wait(10) == 0


def test_a_socket_whose_name_would_be_too_long_lies_in_a_folder_of_this_user():
    short = GatewaySettings("", 0, 1, "", "", folder="/srv/x/.guideway/run/env/dev")
    deep = msgspec.structs.replace(short, folder="/srv/" + "x" * 120 + "/.guideway/run/env/dev")
    assert socket_of(short) == "/srv/x/.guideway/run/env/dev/limits.sock"
    assert len(socket_of(deep)) < 100 and socket_of(deep) == socket_of(deep) != socket_of(short)


def test_rows_are_where_the_environment_says_or_in_the_folder_of_the_gateway():
    settings = GatewaySettings("", 0, 1, "", "", folder="/srv/x/.guideway/run/env/dev")
    assert state_of(settings, {}) == Path("/srv/x/.guideway/state.db")
    assert state_of(settings, {"GUIDEWAY_STATE": "postgresql://a@b/c"}) == "postgresql://a@b/c"


def test_workers_never_load_a_database():
    code = "import sys, guideway.gateway.limits.line; print('sqlalchemy' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"
