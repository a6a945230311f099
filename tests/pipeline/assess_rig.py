"""A project whose build is told, not run: signed provenance of every step over small files, and a real workshop."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from guideway.core.artifact import Artifact
from guideway.core.evidence import Evidence, Interval, Subject
from guideway.core.release import Release
from guideway.core.spec import SpecFile, build_part, load
from guideway.pipeline.workshop import Workshop, open_workshop
from guideway.sealing.dossier import package_of
from guideway.sealing.seal import seal
from guideway.signing import dsse, statements
from guideway.store.home import Home

NOW = 1_800_000_000.0
SPEC = """
guideway: 1
name: days
data: {sources: [{path: rows.jsonl}]}
replicas: 1
environments: {prod: {}, staging: {}}
"""
DATA, TRAINED, SMALL, REPORT, SCAN, COMPARED = (f"sha256:{digit * 64}" for digit in "123456")
SURE = Interval(1.0, 2.0, 0.95, "bootstrap")


def fact(metric: str, value: float, about: str, role: str, **more: Any) -> dict[str, Any]:
    kind = "data" if role == "data" else "artifact"
    plain: dict[str, Any] = msgspec.to_builtins(
        Evidence(metric=metric, value=value, unit="", subject=Subject(kind, about, role), **more)
    )
    return plain


class Project:
    """A project in a folder; ``now`` is what its clock says."""

    def __init__(self, root):
        self.now = NOW
        self.path = root / "guideway.yaml"
        self.path.write_text(SPEC, encoding="utf-8")
        self.shop: Workshop = open_workshop(Home.of(root), clock=lambda: self.now)

    def spec(self, environment="prod") -> SpecFile:
        return load(self.path, environment)

    def build(self, *, note="first", perplexity=1.5, against: Release | None = None) -> Release:
        """A release whose steps all ran; *note* makes its package another one while the model stays the same.

        It was compared with the release *against*, if one is given.
        """
        spec = {**build_part(self.spec().spec), "policy": {"intended_use": note}}
        spec["evaluate"] = {**spec["evaluate"], "against": "serving" if against else ""}
        folder = self.path.parent / f"package {note}"
        (folder / "model").mkdir(parents=True)
        (folder / "model" / "model.onnx").write_text("weights")
        (folder / "spec.json").write_text(json.dumps(spec))
        (folder / "serve.json").write_text(json.dumps({"name": "days", "task": "chat", "engine": "onnx"}))
        files = self.shop.blobs.put_tree(folder).files
        package = Artifact.of(list(files)).digest
        proofs = [self.shop.blobs.put_bytes(text) for text in self._steps(package, perplexity)]
        if against:
            proofs.append(self.shop.blobs.put_bytes(self._comparison(package_of(against.files))))
        return seal(
            self.shop.blobs,
            self.shop.database,
            self.shop.signer,
            name="days",
            files=files,
            judgements=(),
            proofs=proofs,
            facts={},
            at=self.now,
        )

    def _steps(self, package: str, perplexity: float) -> list[bytes]:
        model = {"data": DATA, "train": TRAINED, "compress": SMALL}
        return [
            self._step("data", DATA, {}, fact("rejected_rows", 0, DATA, "data")),
            self._step("train", TRAINED, {"data": DATA}, fact("non_finite_weights", 0, TRAINED, "train")),
            self._step("compress", SMALL, {"data": DATA, "train": TRAINED}, fact("top1_flips", 0, SMALL, "compress")),
            self._step(
                "evaluate",
                REPORT,
                model,
                fact("perplexity", perplexity, SMALL, "compress", slice="test", interval=SURE, inputs=(DATA,)),
                fact("baseline_perplexity", 6.0, SMALL, "compress", slice="test", interval=SURE),
                fact("non_finite_outputs", 0, SMALL, "compress", slice="test"),
            ),
            self._step("package", package, model, parameters={"model": "compress"}),
            self._step(
                "scan",
                SCAN,
                {"package": package},
                *(fact(one, 0, package, "package") for one in ("unsafe_files", "secrets", "secrets_in_logs")),
            ),
        ]

    def _comparison(self, other: str) -> bytes:
        inputs = {"data": DATA, "train": TRAINED, "compress": SMALL, "serving": other}
        gain = Interval(-0.01, 0.01, 0.95, "bootstrap")
        told = fact("serving_loss_gain", 0.0, SMALL, "compress", slice="test", interval=gain, inputs=(DATA, other))
        return self._step("against", COMPARED, inputs, told)

    def _step(self, name: str, output: str, inputs: dict[str, str], *facts: dict[str, Any], **more: Any) -> bytes:
        said = statements.provenance(
            name=name,
            output=output,
            parameters=more.get("parameters", {}),
            inputs=inputs,
            builder="urn:test",
            run=name,
            evidence=[{**one, "at": self.now - 60} for one in facts],
        )
        return dsse.seal(said, self.shop.signer)
