"""Is a model server ready? Only one that has generated a token is."""

from __future__ import annotations

import http.client
import time

import msgspec

from guideway.core.launch import Probe
from guideway.core.protocols import Clock

ANSWER_LIMIT = 1 << 20
_GARBAGE, _NOTHING = "its answer is not that of a model server", "it generated no token"


class ProbeResult(msgspec.Struct, frozen=True):
    """What one probe found after ``seconds``; ``why`` says why a server is not ready.

    ``lies``: it says that all is well, and what it says is no answer of a model.
    """

    ready: bool
    seconds: float
    why: str = ""
    lies: bool = False


class _Usage(msgspec.Struct, frozen=True):
    completion_tokens: int = 0


class _Answer(msgspec.Struct, frozen=True):
    usage: _Usage = _Usage()


def ask(
    port: int, probe: Probe, *, connect: float = 1.0, answer: float = 10.0, clock: Clock = time.monotonic
) -> ProbeResult:
    """Post *probe* to 127.0.0.1:*port*: 200 with at least one generated token means ready.

    Args:
        connect: seconds until the connection must stand.
        answer: seconds that the server may be silent.
    """
    began = clock()
    why = _why_not(port, probe, connect, answer)
    return ProbeResult(ready=not why, seconds=clock() - began, why=why, lies=why in (_GARBAGE, _NOTHING))


def _why_not(port: int, probe: Probe, connect: float, answer: float) -> str:
    """Empty when a token came."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=connect)
    try:
        connection.connect()
        connection.sock.settimeout(answer)
        connection.request("POST", probe.path, probe.body.encode(), {"Content-Type": "application/json"})
        response = connection.getresponse()
        body = response.read(ANSWER_LIMIT)
    except TimeoutError:
        return f"it is silent for {answer:g} s"
    except ConnectionRefusedError:
        return "it does not listen yet"
    except (OSError, http.client.HTTPException) as error:
        return f"it hung up: {type(error).__name__}"
    finally:
        connection.close()
    if response.status != http.client.OK:
        return f"it answers with status {response.status}"
    try:
        tokens = msgspec.json.decode(body, type=_Answer).usage.completion_tokens
    except msgspec.DecodeError:
        return _GARBAGE
    return "" if tokens >= 1 else _NOTHING
