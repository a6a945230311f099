"""What clients are told when something is wrong: the error shape of the OpenAI API, and nothing of the inside."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec


class ApiError(msgspec.Struct, frozen=True):
    """An answer that is an error. ``lines`` are further header lines, each with its line end.

    ``kind`` says for our own counters, and nobody else, which rule or limit it was: one of a few words.
    """

    status: int
    message: str
    type: str = "invalid_request_error"
    param: str | None = None
    code: str | None = None
    lines: bytes = b""
    kind: str = ""

    def body(self) -> bytes:
        """The JSON text that the client gets."""
        error = {"message": self.message, "type": self.type, "param": self.param, "code": self.code}
        return msgspec.json.encode({"error": error})


def malformed(message: str) -> ApiError:
    """The bytes are not a request that two readers would understand alike."""
    return ApiError(400, message, code="malformed_request")


def bad_body(message: str, param: str | None = None) -> ApiError:
    """The request is sound HTTP, but its body cannot be meant."""
    return ApiError(400, message, param=param)


def wrong_method(allowed: Iterable[bytes]) -> ApiError:
    """The path exists, the method does not."""
    names = b", ".join(sorted(allowed))
    message = f"this path takes {names.decode()}"
    return ApiError(405, message, code="method_not_allowed", lines=b"Allow: %b\r\n" % names)


def unknown_model(asked: str, known: Iterable[str]) -> ApiError:
    """The body names a model that is not served here."""
    names = ", ".join(known)
    message = f"there is no model {asked[:80]!r}; known: {names}" if names else f"this key may not call {asked[:80]!r}"
    return ApiError(404, message, param="model", code="model_not_found")


def too_large(limit: int) -> ApiError:
    """The body is longer than the limit in bytes."""
    return ApiError(413, f"the body is larger than {limit} bytes", code="body_too_large")


NO_KEY = ApiError(
    401,
    "a valid API key is needed: send it as 'Authorization: Bearer gw-...'",
    code="invalid_api_key",
    lines=b"WWW-Authenticate: Bearer\r\n",
)
NO_PATH = ApiError(404, "there is no such path", code="not_found")
NO_ROLE = ApiError(
    403, "explanations are for keys with the role operator or admin", "permission_error", code="insufficient_role"
)
SLOW_REQUEST = ApiError(408, "the request did not arrive in time", code="request_timeout")
LONG_TARGET = ApiError(414, "the request target is too long", code="target_too_long")
ENCODED_BODY = ApiError(415, "send the body without a content encoding", code="content_encoding")
EXPECTATION = ApiError(417, "the only expectation that is met is 100-continue", code="expectation_failed")
LARGE_HEAD = ApiError(431, "the header fields are too large", code="headers_too_large")
INTERNAL = ApiError(500, "the gateway failed at this request", "server_error", code="internal")
UPSTREAM_BROKE = ApiError(
    502, "the model server failed before its answer was complete", "server_error", code="upstream"
)
NO_REPLICA = ApiError(
    503, "no model server is ready; try again", "server_error", code="no_replica", lines=b"Retry-After: 1\r\n"
)
NO_SERVICE = ApiError(
    503, "what answers this is not ready; try again", "server_error", code="no_service", lines=b"Retry-After: 1\r\n"
)
CROWDED = ApiError(
    503, "there are too many connections; try again", "server_error", code="crowded", lines=b"Retry-After: 1\r\n"
)
KEYS_UNREAD = ApiError(
    503, "keys cannot be checked now; try again", "server_error", code="keys_unread", lines=b"Retry-After: 1\r\n"
)
DRAINED = ApiError(503, "the server is being stopped", "server_error", code="stopping", lines=b"Retry-After: 1\r\n")
UPSTREAM_SLOW = ApiError(504, "the model server did not answer in time", "server_error", code="upstream_timeout")
HTTP_VERSION = ApiError(505, "the server speaks HTTP/1.1 and HTTP/1.0", code="http_version")
