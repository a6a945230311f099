"""A hub of our own on loopback: what the library of the Hugging Face hub asks of it, answered from a folder."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

REVISION = "0123456789abcdef0123456789abcdef01234567"


@contextlib.contextmanager
def hub(folder: Path, name: str):
    """The address of a hub with one model, and the list of paths that are asked for."""
    asked: list[str] = []
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    tree = [
        {"type": "file", "path": one, "oid": hashlib.sha1(data).hexdigest(), "size": len(data)}
        for one, data in files.items()
    ]
    answers = {f"/{name}/resolve/{REVISION}/{one}": data for one, data in files.items()}
    answers[f"/api/models/{name}/tree/{REVISION}"] = json.dumps(tree).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            path = self.path.partition("?")[0]
            asked.append(path)
            data = answers.get(path)
            self.send_response(200 if data is not None else 404)
            self.send_header("Content-Length", str(len(data or b"")))
            if data is None:
                self.send_header("X-Error-Code", "RepoNotFound")
            else:
                self.send_header("X-Repo-Commit", REVISION)
                self.send_header("ETag", f'"{hashlib.sha1(data).hexdigest()}"')
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(data or b"")

        do_HEAD = do_GET

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
