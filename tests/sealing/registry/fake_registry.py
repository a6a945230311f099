"""A registry of OCI distribution 1.1 in this process: referrers, tokens, uploads that resume, and faults on request."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import itertools
import json
import re
import socket
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from guideway.sealing.registry import parse

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


class Fake:
    """State, and what is to go wrong.

    ``faults`` are functions of the handler that are asked before every request; one that returns True has answered it.
    """

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, tuple[str, bytes]] = {}
        self.uploads: dict[str, bytearray] = {}
        self.referrers = True
        self.token = ""
        self.users: dict[str, str] = {}
        self.seen: list[tuple[str, str, str]] = []
        self.faults: list = []
        self.lock, self.numbers = threading.Lock(), itertools.count()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Answer)
        self._server.daemon_threads = True
        self._server.fake = self
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def reference(self, name: str = "team/poet:v1"):
        return parse(f"{self.host}/{name}")

    def asked(self, method: str) -> list[str]:
        """The paths that were asked for with *method*."""
        return [path for verb, path, _ in self.seen if verb == method]


class _Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    @property
    def fake(self) -> Fake:
        return self.server.fake

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            super().handle()

    def route(self) -> None:
        parts = urlsplit(self.path)
        self.route_path, self.query = parts.path, {key: value[0] for key, value in parse_qs(parts.query).items()}
        self.fake.seen.append((self.command, self.path, self.headers.get("Authorization", "")))
        self.unread = int(self.headers.get("Content-Length", 0))
        if any(fault(self) for fault in self.fake.faults):
            return None
        if self.route_path == "/token":
            return self.give_token()
        if not self.is_allowed():
            return None
        what = re.fullmatch(r"/v2/(?:(.+)/)?(manifests|blobs/uploads|blobs|referrers|tags)/(.*)", self.route_path)
        if not what:
            return self.say(200 if self.route_path == "/v2/" else 404)
        return getattr(self, what[2].replace("/", "_"))(what[3])

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = route

    def say(self, status: int, data: bytes = b"", **headers: str) -> None:
        self.body()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def body(self) -> bytes:
        data = self.rfile.read(self.unread)
        self.unread = 0
        return data

    def hang_up(self) -> None:
        """Cut the connection as a dying server does."""
        self.close_connection = True
        self.wfile.flush()
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def is_allowed(self) -> bool:
        said = self.headers.get("Authorization", "")
        if self.fake.token and said != f"Bearer {self.fake.token}":
            scope = "push,pull" if self.command in ("POST", "PUT", "PATCH") else "pull"
            realm = f'Bearer realm="http://{self.fake.host}/token",service="fake",scope="repository:team/poet:{scope}"'
            self.say(401, WWW_Authenticate=realm)
            return False
        if self.fake.users and not self.fake.token and not self.knows(said):
            self.say(401, WWW_Authenticate='Basic realm="fake"')
            return False
        return True

    def knows(self, said: str) -> bool:
        name, _, password = base64.b64decode(said.removeprefix("Basic ")).decode().partition(":")
        return bool(password) and self.fake.users.get(name) == password

    def give_token(self) -> None:
        if self.fake.users and not self.knows(self.headers.get("Authorization", "")):
            return self.say(401)
        return self.say(200, json.dumps({"token": self.fake.token, "expires_in": 60}).encode())

    def manifests(self, name: str) -> None:
        if self.command == "PUT":
            return self.put_manifest(name)
        kind, data = self.fake.manifests.get(name, ("", b""))
        if not kind:
            return self.say(404)
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        return self.say(200, data, Content_Type=kind, Docker_Content_Digest=digest)

    def put_manifest(self, name: str) -> None:
        data, kind = self.body(), self.headers["Content-Type"]
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        self.fake.manifests[name] = self.fake.manifests[digest] = (kind, data)
        subject = json.loads(data).get("subject", {}).get("digest")
        self.say(201, **({"OCI_Subject": subject} if subject and self.fake.referrers else {}))

    def referrers(self, digest: str) -> None:
        if not self.fake.referrers:
            return self.say(404)
        found = [
            {"mediaType": kind, "digest": name, "size": len(data), "artifactType": json.loads(data)["artifactType"]}
            for name, (kind, data) in self.fake.manifests.items()
            if ":" in name and json.loads(data).get("subject", {}).get("digest") == digest
        ]
        page = int(self.query.get("page", 0))
        more = {"Link": f'<{self.route_path}?page={page + 1}>; rel="next"'} if page + 1 < len(found) else {}
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": found[page : page + 1]}
        return self.say(200, json.dumps(index).encode(), Content_Type=INDEX, **more)

    def tags(self, _: str) -> None:
        names = sorted(name for name in self.fake.manifests if ":" not in name)
        self.say(200, json.dumps({"name": "x", "tags": names}).encode())

    def blobs(self, digest: str) -> None:
        data = self.fake.blobs.get(digest)
        if data is None:
            return self.say(404)
        start = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if not start or self.command == "HEAD":
            return self.say(200, data)
        extent = f"bytes {start[1]}-{len(data) - 1}/{len(data)}"
        return self.say(206, data[int(start[1]) :], Content_Range=extent)

    def blobs_uploads(self, session: str) -> None:
        if self.command == "POST":
            with self.fake.lock:
                session = f"u{next(self.fake.numbers)}"
                self.fake.uploads[session] = bytearray()
            return self.say(202, Location=f"/v2/team/poet/blobs/uploads/{session}")
        kept = self.fake.uploads.get(session)
        if kept is None:
            return self.say(404)
        if self.command == "GET":
            return self.say(204, Range=f"0-{max(len(kept) - 1, 0)}", Location=self.route_path)
        while self.unread:  # piece by piece: what came before a cut is kept
            piece = self.rfile.read1(min(self.unread, 65536))
            if not piece:
                return self.hang_up()
            kept += piece
            self.unread -= len(piece)
        if self.command == "PATCH":
            return self.say(202, Location=self.route_path, Range=f"0-{len(kept) - 1}")
        return self.complete(session, bytes(kept))

    def complete(self, session: str, data: bytes) -> None:
        digest = self.query["digest"]
        del self.fake.uploads[session]
        if "sha256:" + hashlib.sha256(data).hexdigest() != digest:
            return self.say(400)
        self.fake.blobs[digest] = data
        return self.say(201)
