"""The documents inside a release: small JSON and text files, read with their digests checked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from guideway.core.artifact import File
from guideway.core.errors import Corrupt
from guideway.kit.strict_json import NotJson, read_json
from guideway.store.blobs import Blobs

JSON = ".json"
TEXT = (".lock", ".md", ".txt", ".jinja")
LIMIT = 256 * 1024
DIGITS = 40
"""Of an integer: tokenizers that transformers wrote say 10**30 where they have no longest input of their own."""


def documents(blobs: Blobs, files: Iterable[File], *, limit: int = LIMIT) -> dict[str, Any]:
    """Path to parsed JSON, or to text, for each of *files* that is a document of at most *limit* bytes.

    Raises:
        Corrupt: missing or changed, not UTF-8, or JSON that is broken, too deep or ambiguous; names the path.
    """
    return {
        file.path: _document(blobs, file)
        for file in sorted(files, key=lambda file: file.path)
        if file.size <= limit and file.path.endswith((JSON, *TEXT))
    }


def _document(blobs: Blobs, file: File) -> Any:
    if blobs.has(file.digest) and not blobs.has(file.digest, file.size):  # never read more than was promised
        raise Corrupt(f"this blob is not what its digest says ({file.path})", where=file.digest)
    data = blobs.read(file.digest)
    try:
        return read_json(data, digits=DIGITS) if file.path.endswith(JSON) else data.decode()
    except NotJson as error:
        raise Corrupt(error.what, where=f"{file.path}:{error.line}" if error.line else file.path) from None
    except UnicodeDecodeError as error:
        raise Corrupt(f"not UTF-8 text (byte {error.start})", where=file.path) from None
