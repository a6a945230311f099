"""The few words of the Redis protocol (RESP2) that a cache needs."""

from __future__ import annotations

from guideway.gateway.cache.address import Address
from guideway.gateway.cache.lane import Reply, line_end, size_of


class Redis:
    """Speaks to Redis, Valkey and their kin."""

    largest = 2 * 1024 * 1024

    def __init__(self, address: Address) -> None:
        self._address = address

    def hello(self) -> list[bytes]:
        """Password and database."""
        at, said = self._address, []
        if at.password:
            names = [at.user.encode()] if at.user else []
            said.append(command(b"AUTH", *names, at.password.encode()))
        if at.database:
            said.append(command(b"SELECT", b"%d" % at.database))
        return said

    def ping(self) -> bytes:
        """A question that costs nothing."""
        return command(b"PING")

    def get(self, name: bytes) -> bytes:
        """Ask for a value."""
        return command(b"GET", name)

    def set(self, name: bytes, value: bytes, seconds: int) -> bytes:
        """Hand over a value."""
        return command(b"SET", name, value, b"EX", b"%d" % seconds)

    def parse(self, buffer: bytearray) -> tuple[Reply, int] | None:
        """The first reply in *buffer* and its length."""
        end = line_end(buffer)
        if end < 0:
            return None
        kind, rest = chr(buffer[0]), bytes(buffer[1:end])
        if kind in {"+", ":"}:
            return Reply(), end + 2
        if kind == "-":
            return Reply(error=rest.split(b" ")[0].decode("ascii", "replace")[:40] or "error"), end + 2
        if kind != "$":
            raise ValueError("no reply of Redis")
        if rest == b"-1":
            return Reply(), end + 2
        start = end + 2
        stop = start + size_of(rest, self.largest)
        if len(buffer) < stop + 2:
            return None
        return Reply(bytes(buffer[start:stop])), stop + 2


def command(*words: bytes) -> bytes:
    """One command in the form that Redis reads."""
    return b"*%d\r\n" % len(words) + b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in words])
