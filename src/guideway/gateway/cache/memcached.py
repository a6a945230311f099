"""The few words of Memcached's text protocol that a cache needs."""

from __future__ import annotations

from guideway.gateway.cache.address import Address
from guideway.gateway.cache.lane import Reply, line_end, size_of

LONGEST_SECONDS = 30 * 24 * 3600
"""A larger number is taken for a date."""

_DONE = (b"STORED", b"END")
_ERRORS = (b"ERROR", b"CLIENT_ERROR", b"SERVER_ERROR", b"NOT_STORED")


class Memcached:
    """Speaks to Memcached."""

    largest = 1_000_000
    """Memcached takes items of 1 MiB with name and head, unless it was started otherwise."""

    def __init__(self, address: Address) -> None:
        self._address = address

    def hello(self) -> list[bytes]:
        """User and password, where the server was started with a file of them."""
        at = self._address
        return [_set(b"auth", b"%b %b" % (at.user.encode(), at.password.encode()), 0)] if at.password else []

    def ping(self) -> bytes:
        """A question that costs nothing."""
        return b"version\r\n"

    def get(self, name: bytes) -> bytes:
        """Ask for a value."""
        return b"get %b\r\n" % name

    def set(self, name: bytes, value: bytes, seconds: int) -> bytes:
        """Hand over a value."""
        return _set(name, value, min(seconds, LONGEST_SECONDS))

    def parse(self, buffer: bytearray) -> tuple[Reply, int] | None:
        """The first reply in *buffer* and its length."""
        end = line_end(buffer)
        if end < 0:
            return None
        words = bytes(buffer[:end]).split(b" ")
        if words[0] == b"VALUE" and len(words) == 4:
            return self._value(buffer, end + 2, words[3])
        if words[0] in _DONE or words[0] == b"VERSION":
            return Reply(), end + 2
        if words[0] in _ERRORS:
            return Reply(error=words[0].decode()), end + 2
        raise ValueError("no reply of Memcached")

    def _value(self, buffer: bytearray, start: int, length: bytes) -> tuple[Reply, int] | None:
        stop = start + size_of(length, 2 * self.largest)
        last = b"\r\nEND\r\n"
        if len(buffer) < stop + len(last):
            return None
        if buffer[stop : stop + len(last)] != last:
            raise ValueError("the value is longer or shorter than announced")
        return Reply(bytes(buffer[start:stop])), stop + len(last)


def _set(name: bytes, value: bytes, seconds: int) -> bytes:
    return b"set %b 0 %d %d\r\n%b\r\n" % (name, seconds, len(value), value)
