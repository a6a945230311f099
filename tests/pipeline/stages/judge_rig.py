"""A judge on this machine: an HTTP server that answers as it is told and remembers what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = Callable[[dict[str, Any], int], tuple[int, Any]]
"""From the pair that is asked about (question, answer A, answer B), and its number, to status and text."""


def says(text: str) -> Reply:
    return lambda asked, number: (200, text)


def prefers(wanted: Callable[[str], bool]) -> Reply:
    """The first answer that is *wanted*, in whichever place; a tie when both are, or none is."""

    def reply(asked: dict[str, Any], number: int) -> tuple[int, Any]:
        a, b = wanted(asked["answer A"]), wanted(asked["answer B"])
        return 200, "I thought.\n\nverdict: " + ("tie" if a is b else "A" if a else "B")

    return reply


class _Quiet(ThreadingHTTPServer):
    """Says nothing of clients that hang up."""

    def handle_error(self, *arguments):
        pass


class JudgeServer:
    """Serves ``/v1/chat/completions``; ``asked`` are the bodies, ``keys`` the headers of authorization."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        server, lock = self, threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with lock:
                    server.asked.append(body)
                    server.keys.append(self.headers["Authorization"])
                    number = len(server.asked)
                pair = json.loads(body["messages"][-1]["content"])
                status, text = server.reply(pair, number)
                found = text if isinstance(text, bytes) else json.dumps(whole(text)).encode()
                self.send_response(status if self.path == "/v1/chat/completions" else 404)
                self.send_header("Content-Length", str(len(found)))
                self.end_headers()
                self.wfile.write(found)

            def log_message(self, *arguments):
                pass

        self._server = _Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def whole(text: Any) -> dict[str, Any]:
    """An answer of the API with *text*."""
    return {"choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]}
