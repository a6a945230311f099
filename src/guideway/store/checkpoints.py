"""Signed checkpoints of the ledger, kept outside its database: they show what the chain alone cannot.

A checkpoint says: this installation's line N had this hash at this time. So a tail that was cut before it, and a
ledger that was written anew or exchanged, are found by whoever has the checkpoint and the signer's public key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec
from sqlalchemy import func, select

from guideway.core.artifact import Digest
from guideway.core.errors import Corrupt
from guideway.kit.files import locked, write_atomic
from guideway.signing import dsse, statements
from guideway.signing.keys import Signer, Verifier, signer
from guideway.store import ledger, tables
from guideway.store.chain import Line, Problem, Walk
from guideway.store.database import Database
from guideway.store.home import Home

EVERY = 100
"""Lines after which a checkpoint is due."""
KIND = "urn:guideway:ledger-checkpoint:v1"
_T = tables.checkpoints


class Checkpoint(msgspec.Struct, frozen=True):
    """Line *seq* of *installation* had *hash* at the time *at* (seconds since 1970)."""

    installation: str
    seq: int
    hash: str
    at: float


class Report(msgspec.Struct, frozen=True):
    """What a look at a whole ledger found. ``bare`` lines came after the last checkpoint: only the chain holds them."""

    lines: int
    checkpoints: int
    bare: int
    problems: tuple[Problem, ...]


def keep_up(database: Database, home: Home, at: float) -> Checkpoint | None:
    """Make the checkpoint that is due, if one is."""
    return make(database, home, signer(home.keys), at) if due(database) else None


def due(database: Database, every: int = EVERY) -> bool:
    """Have *every* lines or more come since the last checkpoint?"""
    tail = ledger.last(database)
    newest = database.row(select(func.max(_T.c.seq)))
    return bool(tail) and tail[0] - ((newest[0] or 0) if newest else 0) >= every  # type: ignore[index]


def make(database: Database, home: Home, by: Signer, at: float) -> Checkpoint | None:
    """Sign the last line that is kept, and write the envelope below *home* and to its copies; None: no line yet.

    Raises:
        OSError: a folder cannot be written. What was written before stays.
    """
    tail = ledger.last(database)
    if tail is None:
        return None
    checkpoint = Checkpoint(ledger.installation(database), *tail, at)
    said = statements.statement(KIND, {"ledger": "sha256:" + checkpoint.hash}, msgspec.to_builtins(checkpoint))
    text = dsse.seal(said, by)
    with locked(home.checkpoints / ".lock"):
        _write_once(home.checkpoints / f"{checkpoint.seq:08}.json", text)
    database.put_once(_T, seq=checkpoint.seq, at=at, hash=checkpoint.hash, signer=by.name, body=text.decode())
    for folder in folders(home)[1:]:
        for path in sorted(home.checkpoints.glob("*.json")):  # those that an unplugged disk missed, too
            _write_once(folder / path.name, path.read_bytes())
    return checkpoint


def folders(home: Home) -> tuple[Path, ...]:
    """Where checkpoints lie as files."""
    return (home.checkpoints, Path(home.copies)) if home.copies else (home.checkpoints,)


def envelopes(database: Database, folders: Iterable[Path]) -> dict[str, bytes]:
    """Every checkpoint that is kept, by where it is: in the folders, and as rows."""
    files = [path for folder in folders for path in sorted(folder.glob("*.json"))]
    rows = database.rows(select(_T.c.seq, _T.c.body).order_by(_T.c.seq))
    return {**{f"row {row.seq}": row.body.encode() for row in rows}, **{str(path): path.read_bytes() for path in files}}


def verify(database: Database, folders: Iterable[Path], trusted: Mapping[str, Verifier]) -> Report:
    """Look at every line and every checkpoint. Memory does not grow with the ledger."""
    kept = envelopes(database, folders)
    return check(ledger.lines(database), ledger.installation(database), kept, trusted)


def check(
    lines: Iterable[Line], installation: str, envelopes: Mapping[str, bytes], trusted: Mapping[str, Verifier]
) -> Report:
    """The same for a ledger that lies anywhere; *envelopes* are its checkpoints by the name that an error says."""
    signed, found = _signed(envelopes, installation, trusted)
    walk, hashes = Walk(installation), {}
    for line in lines:
        walk.take(line)
        if line.seq in signed:
            hashes[line.seq] = line.hash
    found += walk.problems()
    newest = max((seq for seq in signed if hashes.get(seq) == signed[seq].hash), default=0)
    found += _against(walk.last, hashes, signed)
    return Report(walk.lines, len(signed), max(walk.last - newest, 0), tuple(sorted(set(found))))


def _signed(
    envelopes: Mapping[str, bytes], installation: str, trusted: Mapping[str, Verifier]
) -> tuple[dict[int, Checkpoint], list[Problem]]:
    """The checkpoints that count, by line; and what is wrong with the others."""
    found: list[Problem] = []
    signed: dict[int, Checkpoint] = {}
    for name, text in envelopes.items():
        try:
            checkpoint = _read(text, trusted, name)
        except Corrupt as error:
            found.append(Problem(0, f"checkpoint {error.where}: {error.what}"))
            continue
        if checkpoint.installation != installation:
            found.append(Problem(checkpoint.seq, _exchanged(checkpoint, installation)))
            continue
        known = signed.setdefault(checkpoint.seq, checkpoint)
        if known.hash != checkpoint.hash:
            found.append(Problem(known.seq, f"there are two checkpoints of line {known.seq} over different lines"))
    return signed, found


def _read(text: bytes, trusted: Mapping[str, Verifier], name: str) -> Checkpoint:
    said = dsse.unseal(text, trusted, where=name)
    try:
        checkpoint = msgspec.convert(said.get("predicate"), Checkpoint)
    except msgspec.ValidationError:
        raise Corrupt("this is no checkpoint of a ledger", where=name) from None
    digest: Digest = "sha256:" + checkpoint.hash
    if said.get("predicateType") != KIND or digest not in statements.subjects(said):
        raise Corrupt("this is no checkpoint of a ledger", where=name)
    return checkpoint


def _against(last: int, hashes: Mapping[int, str], signed: Mapping[int, Checkpoint]) -> list[Problem]:
    """What the lines lack that was there when a checkpoint was signed."""
    beyond = [seq for seq in signed if seq > last]
    wrong = sorted(seq for seq in signed if seq <= last and hashes.get(seq, signed[seq].hash) != signed[seq].hash)
    good = [seq for seq in signed if hashes.get(seq) == signed[seq].hash]
    found = []
    if beyond:
        found.append(Problem(last + 1, f"lines {last + 1} to {max(beyond)} are missing: checkpoint {max(beyond)} was "
                                       "signed when they were there"))  # fmt: skip
    if wrong:
        first = max((seq for seq in good if seq < wrong[0]), default=0) + 1
        found.append(Problem(first, f"one or more of the lines {first} to {wrong[0]} were written anew: checkpoint "
                                    f"{wrong[0]} was signed over others"))  # fmt: skip
    return found


def _exchanged(checkpoint: Checkpoint, installation: str) -> str:
    mine, theirs = installation[:12] or "none", checkpoint.installation[:12]
    return f"the ledger was exchanged: checkpoint {checkpoint.seq} is of installation {theirs}, the ledger of {mine}"


def _write_once(path: Path, text: bytes) -> None:
    if not path.exists():
        write_atomic(path, text, mode=0o444)
