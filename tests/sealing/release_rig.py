"""A store with a small model folder in it, and judgements to seal and admit it by."""

from __future__ import annotations

from guideway.core.gate import Judgement, Verdict
from guideway.sealing.admit import admit
from guideway.sealing.seal import seal
from guideway.signing.keys import signer, trusted
from guideway.store.blobs import Blobs
from guideway.store.database import Database

PASSED = Judgement("EVL-01", "it is better", Verdict.PASS, "1", "< 2")
FAILED = Judgement("SPEC-1", "exact_match", Verdict.FAIL, "0.02", "≥ 0.8", try_this="mend the prompt")
UNKNOWN = Judgement("DAT-03", "no overlap", Verdict.UNKNOWN, "no evidence", "≤ 0")


class House:
    """A store with a small model folder in it."""

    def __init__(self, root, where=None):
        self.root = root
        self.blobs = Blobs(root / "oci")
        self.database = Database(where or root / "state.db")
        self.signer = signer(root / "keys")
        self.trusted = trusted(root / "keys")
        folder = root / "model-folder"
        for path, text in {"model/model.onnx": "weights", "model/tokenizer.json": "{}", "serve.json": "[]"}.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
        self.files = self.blobs.put_tree(folder).files

    def seal(self, *judgements, files=None, at=1.0):
        return seal(
            self.blobs,
            self.database,
            self.signer,
            name="m",
            files=files or self.files,
            judgements=judgements,
            proofs=[self.blobs.put_bytes(b"proof")],
            facts={"format": "onnx"},
            at=at,
        )

    def admit(self, release, *judgements, environment="dev", at=2.0, **more):
        return admit(
            self.blobs,
            self.database,
            self.signer,
            self.trusted,
            release,
            environment=environment,
            judgements=judgements,
            at=at,
            **more,
        )

    def add(self, text, *judgements, at=1.0):
        """Seal another release: the same but for one file."""
        folder = self.root / f"folder {text}"
        (folder / "model").mkdir(parents=True)
        (folder / "model" / "model.onnx").write_text(text)
        return self.seal(*judgements, files=self.blobs.put_tree(folder).files, at=at)
