"""Is a model server ready? Only one that has computed something is: a token, a class, or an embedding."""

from __future__ import annotations

import http.client
import re
import time
from collections.abc import Sequence

import msgspec

from guideway.core.launch import Probe
from guideway.core.proof import no_class, no_embedding
from guideway.core.protocols import Clock

ANSWER_LIMIT = 1 << 20
_GAUGE = re.compile(r"^([\w:]+)(?:\{.*\})? +([0-9.eE+]+)$", re.MULTILINE)
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
    """Post *probe* to 127.0.0.1:*port*: 200 with what it proves means ready.

    Args:
        connect: seconds until the connection must stand.
        answer: seconds that the server may be silent.
    """
    began = clock()
    body, why = _answer(port, probe, connect, answer)
    lies = "" if why else _why_not(body, probe)
    return ProbeResult(ready=not (why or lies), seconds=clock() - began, why=why or lies, lies=bool(lies))


def until_quiet(
    port: int, busy: Sequence[str], patience: float, *, clock: Clock = time.monotonic, pause: float = 0.1
) -> float:
    """Wait until the server on 127.0.0.1:*port* answers nobody by its gauges *busy*; the seconds left of *patience*.

    A server that tells nothing, or is gone, has nobody who could be waited for.
    """
    end = clock() + patience
    while busy and clock() < end and _is_busy(port, busy):
        time.sleep(pause)
    return max(0.0, end - clock())


def _is_busy(port: int, busy: Sequence[str]) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1.0)
    try:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read(ANSWER_LIMIT).decode(errors="replace")
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return any(float(value) > 0 for name, value in _GAUGE.findall(text) if name in busy)


def _answer(port: int, probe: Probe, connect: float, answer: float) -> tuple[bytes, str]:
    """The body of a whole answer with status 200; or why there is none."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=connect)
    try:
        connection.connect()
        connection.sock.settimeout(answer)
        connection.request("POST", probe.path, probe.body.encode(), {"Content-Type": "application/json"})
        response = connection.getresponse()
        body = response.read(ANSWER_LIMIT)
    except TimeoutError:
        return b"", f"it is silent for {answer:g} s"
    except ConnectionRefusedError:
        return b"", "it does not listen yet"
    except (OSError, http.client.HTTPException) as error:
        return b"", f"it hung up: {type(error).__name__}"
    finally:
        connection.close()
    if response.status != http.client.OK:
        return b"", f"it answers with status {response.status}"
    return body, ""


def _why_not(body: bytes, probe: Probe) -> str:
    """Why *body* does not prove what *probe* asks for; empty when it does."""
    if probe.proves == "class":
        return no_class(body)
    if probe.proves == "embedding":
        return no_embedding(body, probe.width)
    try:
        tokens = msgspec.json.decode(body, type=_Answer).usage.completion_tokens
    except msgspec.DecodeError:
        return _GARBAGE
    return "" if tokens >= 1 else _NOTHING
