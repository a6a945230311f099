"""The lines of output and error files, in the shape of the OpenAI API, and how a journal becomes those files."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

import msgspec

from guideway.gateway.batches import lines
from guideway.gateway.batches.journal import BAD, GOOD, Journal, Result
from guideway.gateway.batches.sender import Answer
from guideway.gateway.batches.shelf import Shelf
from guideway.store.batches import Batch, Counts, Status, StoredFile

UNDONE: Mapping[Status, tuple[str, str]] = {
    "expired": ("batch_expired", "the completion window ended before this request was answered"),
    "cancelled": ("batch_cancelled", "the batch was cancelled before this request was answered"),
}


class Response(msgspec.Struct, frozen=True):
    """What the gateway answered to a line."""

    status_code: int
    request_id: str
    body: msgspec.Raw


class Failure(msgspec.Struct, frozen=True):
    """Why a line has no response."""

    code: str
    message: str


class ResultLine(msgspec.Struct, frozen=True):
    """One line of a result file."""

    id: str
    custom_id: str
    response: Response | None
    error: Failure | None


class Written(msgspec.Struct, frozen=True):
    """The files that a batch left: id and size, None where there is nothing to say."""

    output: tuple[str, int] | None
    errors: tuple[str, int] | None


def answered(number: int, custom_id: str, id: str, answer: Answer) -> Result:
    """The result for a line that got an answer. The body is kept as it came, without its white space."""
    try:
        body = msgspec.json.format(answer.body, indent=-1)
    except (msgspec.DecodeError, RecursionError):
        return failed(number, custom_id, id, "invalid_response", "the answer was not JSON")
    response = Response(answer.status, answer.request_id, msgspec.Raw(body))
    kind = GOOD if 200 <= answer.status < 300 else BAD
    return Result(number, kind, msgspec.json.encode(ResultLine(id, custom_id, response, None)))


def failed(number: int, custom_id: str, id: str, code: str, message: str) -> Result:
    """The result for a line that got none."""
    return Result(number, BAD, msgspec.json.encode(ResultLine(id, custom_id, None, Failure(code, message))))


def ended(
    batch: Batch, status: Status, counts: Counts, written: Written, *, now: float, keep: float
) -> tuple[Batch, tuple[StoredFile, ...]]:
    """The rows of a batch at its end and of its files, which are kept for *keep* seconds."""
    made = tuple(
        StoredFile(found[0], batch.owner, "batch_output", f"{batch.id}_{name}.jsonl", found[1], now, now + keep)
        for name, found in (("output", written.output), ("error", written.errors))
        if found is not None
    )
    last = msgspec.structs.replace(
        batch.reached(status, now),
        counts=counts,
        output_file_id=written.output[0] if written.output else None,
        error_file_id=written.errors[0] if written.errors else None,
    )
    return last, made


def write_files(
    shelf: Shelf, journal: Journal, source: Path, body_limit: int, *, status: Status, new_id: Callable[[str], str]
) -> Written:
    """Write output and error file in the order of the input; lines without an answer are told of as *status* says.

    Raises:
        OSError: there is no room. No file is there then that anybody is told of.
    """
    with contextlib.ExitStack() as parts, source.open("rb") as file:
        output, errors = parts.enter_context(shelf.part()), parts.enter_context(shelf.part())
        places = lines.places(file, body_limit)
        for place, found in zip(places, journal.results(), strict=True):
            result = found
            if result is None:
                custom_id = lines.parse(lines.read(file, place)).custom_id
                result = failed(place.number, custom_id, new_id("batch_req_"), *UNDONE[status])
            (output if result.kind == GOOD else errors).write(result.payload + b"\n")
        return _both(shelf, output, errors, new_id)


def _both(shelf: Shelf, output: IO[bytes], errors: IO[bytes], new_id: Callable[[str], str]) -> Written:
    first = _kept(shelf, output, new_id)
    try:
        return Written(first, _kept(shelf, errors, new_id))
    except OSError:
        if first is not None:
            shelf.drop(first[0])
        raise


def _kept(shelf: Shelf, part: IO[bytes], new_id: Callable[[str], str]) -> tuple[str, int] | None:
    if not part.tell():
        return None
    id = new_id("file-")
    return id, shelf.keep(part, id)
