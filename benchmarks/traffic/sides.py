"""The sides that are compared: each is processes on a loopback port in front of the same model server."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.traffic.machine import below
from guideway.core.privacy import DEFAULT
from guideway.core.route import ApiKey, Arm, Endpoint, GatewaySettings, KeyFile, Route
from guideway.core.spec.gateway import Admission, Gateway, Limits, Masking, Price
from guideway.gateway.keys import key_digest, new_key
from guideway.kit.files import write_atomic

HERE = Path(__file__).parent
KEYS = [new_key(number.to_bytes(32)) for number in range(100)]
KEY = KEYS[42]
START_SECONDS = 120.0
MANY = 1_000_000_000
"""A limit that is counted and never reached."""
UNMASKED = Masking(entities=dict.fromkeys(DEFAULT, "allow"), output=False)


class Side:
    """Processes that answer on a port. ``workers`` are those that requests pass through, ``beside`` the others."""

    def __init__(self, name: str, argv: Sequence[str], port: int, folder: Path, env: Mapping[str, str] | None = None):
        self.name, self.port, self.key = name, port, KEY
        self.log = folder / f"{name.replace(' ', '-')}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                list(argv), stdout=log, stderr=log, stdin=subprocess.DEVNULL, env={**_environment(), **(env or {})},
                cwd=folder, start_new_session=True,
            )  # fmt: skip

    @property
    def workers(self) -> list[int]:
        """Every process of it."""
        return below(self.process.pid)

    @property
    def beside(self) -> list[int]:
        """Processes that no request passes through."""
        return []

    def up(self) -> Side:
        """Wait until it answers a request with 200."""
        deadline, said = time.monotonic() + START_SECONDS, "nothing"
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                status, said = self._ask()
                if status == 200:
                    return self
            except (OSError, http.client.HTTPException) as error:
                said = repr(error)
            time.sleep(0.1)
        raise RuntimeError(f"{self.name} does not answer: {said}\n{self.log.read_text(errors='replace')[-2000:]}")

    def stop(self) -> None:
        """End it with all its processes: told first, then made."""
        for number, seconds in ((signal.SIGTERM, 15), (signal.SIGKILL, 5)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(seconds)

    def _ask(self) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        body = json.dumps({"model": "poet", "messages": [{"role": "user", "content": "are you there?"}]})
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        with contextlib.closing(connection):
            connection.request("POST", "/v1/chat/completions", body, headers)
            reply = connection.getresponse()
            return reply.status, f"{reply.status} {reply.read()[:300]!r}"


class Guideway(Side):
    """A real gateway: parent, one worker and its companions, everything at its default unless told otherwise."""

    def __init__(self, name: str, upstream: int, folder: Path, *, masking: Masking, concurrent: int = 64):
        home = folder / name.replace(" ", "-")
        self._settings = _write_settings(home, upstream, masking, concurrent)
        argv = [sys.executable, "-P", "-m", "guideway.gateway", "--settings", str(self._settings)]
        super().__init__(name, argv, 0, home)
        deadline = time.monotonic() + START_SECONDS
        while not self._state():
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise RuntimeError(f"{name} does not start:\n{self.log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.05)
        self.port = int(self._state()["port"])

    @property
    def workers(self) -> list[int]:
        """The worker."""
        return list(self._state()["workers"])

    @property
    def beside(self) -> list[int]:
        """The parent, the limiter, the admin plane and the batches."""
        return [pid for pid in below(self.process.pid) if pid not in self.workers]

    def _state(self) -> dict[str, Any]:
        try:
            told: dict[str, Any] = json.loads(self._settings.with_name(self._settings.name + ".state").read_bytes())
        except FileNotFoundError:
            return {}
        return told


def upstream(program: Path, folder: Path, *, pace: int = 5000, service: int = 0, slots: int = 1) -> Side:
    """The model server; times are in microseconds."""
    port = free_port()
    argv = [str(program), str(port), str(pace), str(service), str(slots)]
    return Side(f"upstream of {service} us" if service else "upstream", argv, port, folder).up()


def haproxy(upstream: int, folder: Path) -> Side:
    """HAProxy with one thread: who has a key in the map goes through."""
    port = free_port()
    (folder / "keys.map").write_text("".join(f"{key} key-{number}\n" for number, key in enumerate(KEYS)))
    (folder / "haproxy.cfg").write_text(
        "global\n  nbthread 1\n  maxconn 4096\n"
        "defaults\n  mode http\n  timeout connect 5s\n  timeout client 600s\n  timeout server 600s\n"
        f"frontend data\n  bind 127.0.0.1:{port}\n"
        f"  http-request set-var(txn.who) http_auth_bearer,map_str({folder / 'keys.map'})\n"
        "  http-request deny deny_status 401 unless { var(txn.who) -m found }\n"
        "  default_backend replicas\n"
        f"backend replicas\n  http-reuse always\n  server one 127.0.0.1:{upstream}\n"
    )
    return Side("HAProxy", [_program("haproxy"), "-db", "-f", str(folder / "haproxy.cfg")], port, folder).up()


def plain_proxy(python: Path, upstream: int, folder: Path) -> Side:
    """Starlette on uvicorn with aiohttp's client: the proxy that one writes in an afternoon."""
    port = free_port()
    argv = [str(python), str(HERE / "plain_proxy.py"), str(port), str(upstream)]
    return Side("uvicorn + aiohttp", argv, port, folder, {"PLAIN_PROXY_KEYS": " ".join(KEYS)})


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


def _environment() -> dict[str, str]:
    """Ours, but every side may keep its byte code: without it some start minutes later, and import while they serve."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def _program(name: str) -> str:
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if found is None:
        raise SystemExit(f"{name} is not there; install it to run this benchmark")
    return found


def _write_settings(home: Path, upstream: int, masking: Masking, concurrent: int) -> Path:
    """Route, keys and settings of a gateway; its folder is where its companions look for it."""
    folder = home / "run" / "env" / "bench"
    folder.mkdir(parents=True)
    settings = GatewaySettings(
        host="127.0.0.1",
        port=0,
        workers=1,
        route_file=str(folder / "route.json"),
        keys_file=str(folder / "keys.json"),
        environment="bench",
        folder=str(folder),
        options=Gateway(
            limits=Limits(requests_per_minute=MANY, tokens_per_minute=MANY),
            price=Price(input=1.0, output=2.0),
            masking=masking,
            admission=Admission(concurrent=concurrent),
        ),
    )
    pepper = os.urandom(32)
    keys = tuple(ApiKey(id=f"key-{number}", digest=key_digest(pepper, key)) for number, key in enumerate(KEYS))
    stable = Arm("sha256:" + "5" * 64, (Endpoint("127.0.0.1", upstream),))
    route = Route(environment="bench", model="poet", revision=1, epoch=1, stable=stable)
    write_atomic(folder / "keys.json", msgspec.json.encode(KeyFile(pepper.hex(), keys)), mode=0o600, durable=False)
    write_atomic(folder / "route.json", msgspec.json.encode(route), durable=False)
    write_atomic(folder / "gateway.json", msgspec.json.encode(settings), durable=False)
    return folder / "gateway.json"
