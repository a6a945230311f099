"""Real load balancers from the system, with configurations that we wrote, on free ports of this machine."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
from pathlib import Path

from gateway_rig import Client, wait_for

from guideway.core.route import Endpoint
from guideway.core.spec.gateway import Gateway as Options
from guideway.gateway.front import haproxy, nginx
from guideway.gateway.front.plan import Front

WRITERS = {"haproxy": haproxy.write, "nginx": nginx.write}


def program(name: str) -> str:
    """The balancer's program; a machine without it fails the test."""
    found = shutil.which(name, path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    assert found, f"{name} is missing: install Debian's package {name}"
    return found


def argv(name: str, file: Path, *, check: bool = False) -> list[str]:
    """How *name* is called for the configuration *file*."""
    if name == "haproxy":
        return [program(name), "-c" if check else "-db", "-f", str(file)]
    folder = file.parent
    main = f"pid {folder}/nginx.pid; error_log {folder}/nginx.log notice; daemon off;"
    return [program(name), *(["-t"] if check else []), "-c", str(file), "-p", str(folder), "-g", main]


def configured(name: str, folder: Path, gateways: list[Endpoint], front: Front, options: Options) -> Path:
    """The configuration in a file. nginx makes its folders for temporary files, used or not: they are put here."""
    file, text = folder / f"{name}.conf", WRITERS[name](gateways, front, options)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    lines = "".join(f"    {kind}_temp_path {folder}/{kind};\n" for kind in kinds)
    file.write_text(text.replace("http {\n", f"http {{\n{lines}") if name == "nginx" else text)
    return file


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return one.getsockname()[1]


class Balancer:
    """One that runs, in front of gateways on *ports*."""

    def __init__(self, name: str, folder: Path, ports: list[int], /, without: str = "", **front: str) -> None:
        """*without*: a pattern of lines that are taken out of the configuration."""
        self.name, self.port = name, free_port()
        gateways = [Endpoint("127.0.0.1", port) for port in ports]
        chosen = Front(listen=f"127.0.0.1:{self.port}", **front)
        file = configured(name, folder, gateways, chosen, Options(body_megabytes=1))
        if without:
            file.write_text(re.sub(rf"(?m)^ *({without})\b.*\n", "", file.read_text()))
        self.log = (folder / f"{name}.out").open("wb")
        self.process = subprocess.Popen(argv(name, file), stdout=self.log, stderr=self.log)
        wait_for(self._accepts, 15, f"{name} accepting")

    def _accepts(self) -> bool:
        assert self.process.poll() is None, Path(self.log.name).read_text()
        try:
            with Client(self.port):
                return True
        except ConnectionError:
            return False

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(5)
        self.log.close()
