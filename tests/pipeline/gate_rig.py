"""A workshop with a release that was made of signed steps, and a spec to judge it by; no stage runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from guideway.core.artifact import Digest, canonical_json, digest_of
from guideway.core.evidence import Evidence, Subject
from guideway.core.gate import Judgement
from guideway.core.release import Release
from guideway.core.spec import SpecFile, build_part, load
from guideway.pipeline.assess import assess
from guideway.pipeline.workshop import Workshop, open_workshop
from guideway.sealing.attest import approve, attest
from guideway.sealing.dossier import package_of
from guideway.sealing.pack import attach, descriptor_of
from guideway.sealing.seal import seal
from guideway.signing import dsse, signers, statements
from guideway.signing.keys import trusted
from guideway.store.home import Home

NOW = 1_800_000_000.0
SPEC = """guideway: 1
name: days
data: {sources: [{path: x}]}
environments: {staging: {}, prod: {}}
"""


class Desk:
    """Where releases are sealed and judged; the files of a release differ by *text*."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "guideway.yaml").write_text(SPEC)
        self.shop: Workshop = open_workshop(Home.of(root), clock=lambda: NOW)

    def person(self, name: str) -> Any:
        """A new signer, who is trusted from now on."""
        made = signers.new(self.shop.home.keys, name)
        self.trust_again()
        return made

    def trust_again(self) -> None:
        self.shop = msgspec.structs.replace(self.shop, trusted=trusted(self.shop.home.keys))

    def spec(self, environment: str = "prod") -> SpecFile:
        return load(self.root / "guideway.yaml", environment, {})

    def release(self, text: str, *facts: Evidence, train: str = "train", by: Any = None) -> Release:
        """Seal a release; *facts* are by-products of its package step."""
        blobs, signer = self.shop.blobs, by or self.shop.signer
        folder = self.root / f"folder {text}"
        (folder / "model").mkdir(parents=True)
        (folder / "model" / "model.onnx").write_text(text)
        (folder / "spec.json").write_bytes(canonical_json(build_part(self.spec().spec)))
        files = blobs.put_tree(folder).files
        data, model, package = digest_of("data"), digest_of(train), package_of(files)
        steps = [
            step("data", data, {}, ()),
            step("train", model, {"data": data}, ()),
            step("package", package, {"data": data, "train": model}, facts),
        ]
        return seal(
            blobs,
            self.shop.database,
            signer,
            name="days",
            files=files,
            judgements=(),
            proofs=[blobs.put_bytes(dsse.seal(one, signer)) for one in steps],
            facts={"format": "onnx"},
            at=NOW,
        )

    def attest(self, *facts: Evidence, release: Release | None = None) -> Digest:
        shop = self.shop
        return attest(shop.blobs, shop.database, shop.signer, facts, release=release, at=NOW)

    def attach(self, release: Release, text: bytes) -> None:
        """What anybody can do who may write the folder of the store."""
        attach(self.shop.blobs, descriptor_of(self.shop.blobs, release.digest), dsse.MEDIA_TYPE, text)

    def approve(self, release: Release, who: Any, environment: str) -> None:
        shop = self.shop
        approve(shop.blobs, shop.database, who, release, environment=environment, why="", older=False, at=NOW)

    def judged(self, release: Release, clause: str, environment: str = "prod") -> Judgement:
        found = assess(self.shop, self.spec(environment), release, at=NOW)
        return next(one for one in found.judgements if one.clause == clause)


def step(name: str, output: Digest, inputs: dict[str, Digest], facts: tuple[Evidence, ...]) -> dict[str, Any]:
    return statements.provenance(
        name=name,
        output=output,
        parameters={},
        inputs=inputs,
        builder="urn:guideway:build:v1",
        run="run",
        evidence=msgspec.to_builtins(facts),
    )


def fact(metric: str, value: float, role: str, digest: Digest, **more: Any) -> Evidence:
    kind: Any = "data" if role == "data" else "artifact"
    return Evidence(metric, value, "", Subject(kind, digest, role), at=NOW - 60, **more)
