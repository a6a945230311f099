"""A ledger in one file of JSON lines, for people who have no access to the database: a header, then every line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import msgspec

from guideway.core.errors import Corrupt
from guideway.kit.files import replacing
from guideway.signing.keys import Verifier
from guideway.store import checkpoints, ledger
from guideway.store.chain import Line
from guideway.store.checkpoints import Report
from guideway.store.database import Database

_FORMAT = "guideway.ledger.v1"


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first line: whose ledger it is, and the envelopes of its checkpoints."""

    format: str
    installation: str
    checkpoints: tuple[msgspec.Raw, ...]


class _Row(msgspec.Struct, frozen=True):
    """One line of the ledger. ``data`` keeps the very bytes that the hash covers."""

    seq: int
    at: float
    who: str
    what: str
    subject: str
    why: str
    data: msgspec.Raw
    previous: str
    hash: str


def export(database: Database, folders: Iterable[Path], path: Path) -> int:
    """Write the whole ledger to *path*, whole or not at all; how many lines it has."""
    envelopes = dict.fromkeys(checkpoints.envelopes(database, folders).values())  # each once, in order
    header = Header(_FORMAT, ledger.installation(database), tuple(map(msgspec.Raw, envelopes)))
    encode, count = msgspec.json.Encoder().encode, 0
    with replacing(path) as file:
        file.write(encode(header) + b"\n")
        for line in ledger.lines(database):
            row = _Row(*line[:6], msgspec.Raw(line.data.encode()), *line[7:])
            file.write(encode(row) + b"\n")
            count += 1
    return count


def verify(path: Path, trusted: Mapping[str, Verifier]) -> Report:
    """Look at every line and every checkpoint of an exported ledger.

    Raises:
        Corrupt: it is no exported ledger, or a line of it cannot be read.
    """
    with path.open("rb") as file:
        try:
            header = msgspec.json.decode(file.readline(), type=Header)
        except msgspec.DecodeError:
            header = Header("", "", ())
        if header.format != _FORMAT:
            raise Corrupt("this is no exported ledger", where=str(path), try_this="`guideway audit export FILE`")
        envelopes = {f"{number} of {path.name}": bytes(raw) for number, raw in enumerate(header.checkpoints, 1)}
        return checkpoints.check(_lines(file, path), header.installation, envelopes, trusted)


def _lines(file: Iterable[bytes], path: Path) -> Iterator[Line]:
    decoder = msgspec.json.Decoder(_Row)
    for number, text in enumerate(file, 2):
        try:
            row = decoder.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise Corrupt("this line cannot be read", where=f"{path}:{number}") from None
        data = bytes(row.data).decode()
        yield Line(row.seq, row.at, row.who, row.what, row.subject, row.why, data, row.previous, row.hash)
