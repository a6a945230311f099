"""A real Prometheus that scrapes a small exporter, and servers that answer as they are told."""

from __future__ import annotations

import contextlib
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from guideway.core.spec.guards import Guard
from guideway.watch.prometheus import Measured, Subject, measure

SUBJECT = Subject("prod", "r7", "sha256:" + "5" * 64, "sha256:" + "c" * 64)
CONFIGURATION = """
global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}
scrape_configs:
  - job_name: exporter
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""


def wait_for(condition: Callable[[], object], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        threading.Event().wait(0.01)


class Exporter:
    """Serves ``text`` under /metrics, over a connection per request."""

    def __init__(self, text: str) -> None:
        self.text = text
        exporter = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                body = exporter.text.encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments):
                pass

        self._closed = False
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Prometheus:
    """A prometheus of its own on a free port, and what it scrapes."""

    def __init__(self, folder: Path, text: str) -> None:
        found = shutil.which("prometheus")
        assert found, "prometheus is not installed"
        self.exporter = Exporter(text)
        self._free = _free_port()
        configuration = folder / "prometheus.yml"
        configuration.write_text(CONFIGURATION.format(port=self.exporter.port))
        options = [f"--config.file={configuration}", f"--storage.tsdb.path={folder / 'data'}"]
        address = f"--web.listen-address=127.0.0.1:{self._free}"
        with (folder / "prometheus.log").open("wb") as log:
            self.process = subprocess.Popen([found, *options, address], stdout=log, stderr=log)
        wait_for(lambda: self.ask("up").value == 1.0)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._free}"

    def ask(self, query: str, **more) -> Measured:
        assert self.process.poll() is None, "prometheus ended by itself"
        return measure(guard(self.url, query, **more), SUBJECT)

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def close(self) -> None:
        self.stop()
        self.exporter.close()


class Liar:
    """Takes one request per connection, keeps it, and answers with *pieces*; without *close* it then says no more.

    *tls* is a folder with certificate and key, as :func:`certificate` makes them.
    """

    def __init__(self, *pieces: bytes, close: bool = True, tls: Path | None = None) -> None:
        self._tls: ssl.SSLContext | None = None
        if tls is not None:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(tls / "certificate.pem", tls / "key.pem")
        self.asked: list[bytes] = []
        self._pieces, self._close = pieces, close
        self._gone = threading.Event()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _serve(self) -> None:
        while not self._gone.is_set():
            client, _ = self._server.accept()
            with client, contextlib.suppress(OSError):
                if self._gone.is_set():
                    return
                self._answer(self._tls.wrap_socket(client, server_side=True) if self._tls else client)

    def _answer(self, client: socket.socket) -> None:
        with client:
            self.asked.append(_read(client))
            for piece in self._pieces:
                client.sendall(piece)
            if not self._close:
                client.settimeout(20)
                client.recv(1)  # until the other side has had enough

    def close(self) -> None:
        self._gone.set()
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        self._thread.join()
        self._server.close()


def guard(url: str, query: str = "up", **more) -> Guard:
    return Guard(**{"name": "g", "prometheus": url, "query": query, "at_most": 1.0, **more})


def http(body: bytes | str, status: str = "200 OK", headers: str = "") -> bytes:
    body = body.encode() if isinstance(body, str) else body
    return f"HTTP/1.1 {status}\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body


def vector(value: str = "0.5", at: float | None = None) -> str:
    at = time.time() if at is None else at
    result = f'[{{"metric": {{}}, "value": [{at}, "{value}"]}}]'
    return f'{{"status": "success", "data": {{"resultType": "vector", "result": {result}}}}}'


def certificate(folder: Path) -> Path:
    """A certificate of its own for 127.0.0.1 in *folder*, beside its key."""
    made = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem")]
    names = ["-subj", "/CN=prometheus", "-addext", "subjectAltName=IP:127.0.0.1"]
    kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    subprocess.run(["openssl", "req", *kind, *names, *made], check=True, capture_output=True)
    return folder / "certificate.pem"


def _read(client: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = client.recv(65536)
        if not piece or piece[:1] == b"\x16":  # the first byte of TLS, which is not spoken here
            return data
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-l"))
    while len(body) < length:
        body += client.recv(65536)
    return head + b"\r\n\r\n" + body


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]
