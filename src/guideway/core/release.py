"""A release: artifacts under one digest. It never changes; attachments are added beside it."""

from __future__ import annotations

import msgspec

from guideway.core.artifact import Digest, File


class Release(msgspec.Struct, frozen=True):
    """A sealed release. ``digest`` is the digest of its OCI manifest, ``number`` counts per name here."""

    digest: Digest
    name: str
    number: int
    created: float
    files: tuple[File, ...] = ()

    @property
    def size(self) -> int:
        """Bytes in all files together."""
        return sum(file.size for file in self.files)


class Decoding(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Defaults for sampling; a request may narrow them. ``temperature: 0`` is greedy."""

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    max_tokens: int = 128
    stop: tuple[str, ...] = ()
    seed: int | None = None


class ServeSettings(msgspec.Struct, frozen=True):
    """``serve.json`` inside a release: all that a model server needs to know beside the model files.

    ``template`` is the text of a Jinja chat template; empty means the tokenizer's own.
    """

    name: str
    task: str
    engine: str
    system: str = ""
    template: str = ""
    decoding: Decoding = Decoding()
