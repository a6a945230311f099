"""``python kill_replica.py PORT RELEASE SHARE SEED``: answers as an OpenAI server does, plain and streamed.

A SHARE of what users ask gets a 500 instead; who only asks for life or a token gets what they ask for. When each user
asked is told on standard output, in seconds since 1970. Asked to end, it first finishes what it answers.
"""

import json
import os
import random
import signal
import socket
import sys
import threading
import time

PIECES, GAP = 8, 0.05
"""A stream has so many pieces, so many seconds apart: ten of them are under way at any moment, to be torn if any is."""
ANSWER = {
    "id": "c", "object": "chat.completion", "created": 1, "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "a good answer"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8},
}  # fmt: skip
HEAD = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


class Server:
    """One thread for each connection; ``answering`` counts what is under way."""

    def __init__(self, port: int, share: float, seed: str) -> None:
        self.share, self.dice, self.answering = share, random.Random(seed), 0
        self.lock, self.idle = threading.Lock(), threading.Condition()
        self.listening = socket.create_server(("127.0.0.1", port), backlog=256)

    def accept(self) -> None:
        while True:
            client, _ = self.listening.accept()
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client: socket.socket) -> None:
        with client, client.makefile("rb") as lines:
            while first := lines.readline():
                size = 0
                while (line := lines.readline().strip().lower()) != b"":
                    if line.startswith(b"content-length:"):
                        size = int(line.partition(b":")[2])
                self.working(1)
                try:
                    self.answer(client, first, lines.read(size))
                finally:
                    self.working(-1)

    def working(self, more: int) -> None:
        with self.idle:
            self.answering += more
            self.idle.notify_all()

    def answer(self, client: socket.socket, first: bytes, body: bytes) -> None:
        if b"tell me about" in body:
            os.write(1, b"asked %.6f\n" % time.time())
            with self.lock:
                ill = self.dice.random() < self.share
            if ill:
                client.sendall(whole({"error": {"message": "broken inside"}}, b"500 Internal Server Error"))
                return
        if first.startswith(b"POST") and json.loads(body).get("stream"):
            self.stream(client)
        else:
            client.sendall(whole(ANSWER))

    def stream(self, client: socket.socket) -> None:
        client.sendall(STREAM)
        for number in range(PIECES):
            last = number == PIECES - 1
            choice = {"index": 0, "delta": {"content": "word "}, "finish_reason": "stop" if last else None}
            event = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
            client.sendall(chunk(b"data: %b\n\n" % json.dumps(event).encode()))
            time.sleep(GAP)
        client.sendall(chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")


def whole(answer: dict, status: bytes = b"200 OK") -> bytes:
    body = json.dumps(answer).encode()
    return HEAD % (status, len(body), body)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def main(port: int, release: str, share: float, seed: str) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    os.write(1, f"release {release}\n".encode())
    server = Server(port, share, seed)
    threading.Thread(target=server.accept, daemon=True).start()
    signal.sigwait({signal.SIGTERM})
    with server.idle:
        server.idle.wait_for(lambda: not server.answering, 10.0)
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], float(sys.argv[3]), sys.argv[4])
