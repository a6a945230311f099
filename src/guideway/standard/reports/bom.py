"""The bill of materials as plain CycloneDX 1.6 values: the model with its card, its files, data, libraries and base.

The classes of cyclonedx-python-lib have no model card, so the values are written here and its validator judges them.
"""

from __future__ import annotations

import datetime
import re
import uuid
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from guideway import __version__
from guideway.core.artifact import Digest, File
from guideway.core.dossier import Dossier
from guideway.standard.judge import number
from guideway.standard.reports.clean import clean
from guideway.standard.reports.drawn import (
    DataSource,
    Drawn,
    architecture,
    distributions,
    document,
    envelopes,
    files,
    finite,
    is_weight,
    parameters,
    policy,
    proofs,
    setting,
    sources,
    training,
)
from guideway.standard.reports.model_card_part import model_card

IsSpdx = Callable[[str], bool]
ROOT = "model"
PROGRAMS = {"python": "platform", "llama.cpp": "application"}
"""What the lock names besides distributions, and which kind of component it is."""
_URL = re.compile(r"https?://[\w.-]+(?::\d+)?(?:/[\w./~%+@=-]*)?")
_MAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")


def bill(drawn: Drawn, is_spdx: IsSpdx) -> dict[str, Any]:
    """The whole bill. *is_spdx* tells the licences that SPDX lists from others. The same input gives the same bill."""
    parts = [*map(_file, files(drawn.dossier)), *_datasets(drawn.dossier, is_spdx), *_software(drawn.dossier)]
    references = [part["bom-ref"] for part in parts]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{serial(drawn.dossier)}",
        "version": 1,
        "metadata": _metadata(drawn, is_spdx),
        "components": parts,
        "dependencies": [{"ref": ROOT, "dependsOn": references}, *({"ref": one} for one in references)],
    }


def serial(dossier: Dossier) -> uuid.UUID:
    """The number of the bill: the same for the same release."""
    return uuid.uuid5(uuid.NAMESPACE_URL, dossier.release.digest if dossier.release else f"unsealed:{dossier.name}")


def _metadata(drawn: Drawn, is_spdx: IsSpdx) -> dict[str, Any]:
    at = datetime.datetime.fromtimestamp(drawn.at, datetime.UTC)
    tool = {"type": "application", "name": "guideway", "version": __version__, "purl": pypi("guideway", __version__)}
    return {
        "timestamp": at.isoformat(timespec="seconds").replace("+00:00", "Z"),
        "lifecycles": [{"phase": "post-build"}],
        "tools": {"components": [tool]},
        "component": _model(drawn, is_spdx),
        **_supplier(drawn.dossier),
    }


def _model(drawn: Drawn, is_spdx: IsSpdx) -> dict[str, Any]:
    dossier = drawn.dossier
    release = dossier.release
    found: dict[str, Any] = {"type": "machine-learning-model", "bom-ref": ROOT, "name": clean(dossier.name)}
    if release is not None:
        found |= {"version": str(release.number), "hashes": [_hash(release.digest)], "purl": _oci(dossier)}
    if said := policy(dossier, "intended_use"):
        found["description"] = clean(said)
    found |= _licences(policy(dossier, "licence"), is_spdx) | _supplier(dossier) | _pedigree(dossier)
    found["externalReferences"] = _references(dossier, is_spdx)
    found["modelCard"] = model_card(drawn, [_data_reference(one) for one in sources(dossier)])
    if properties := _properties(dossier):
        found["properties"] = properties
    return {name: value for name, value in found.items() if value}


def _file(file: File) -> dict[str, Any]:
    kind = "weights" if is_weight(file) else "settings"
    return {
        "type": "file",
        "bom-ref": f"file:{quote(file.path)}",
        "name": clean(file.path),
        "hashes": [_hash(file.digest)],
        "properties": [_property("size", file.size), _property("kind", kind)],
    }


def _datasets(dossier: Dossier, is_spdx: IsSpdx) -> list[dict[str, Any]]:
    unique = {one.path: one for one in sources(dossier)}
    return [_dataset(one, dossier, is_spdx) for one in unique.values()]


def _dataset(source: DataSource, dossier: Dossier, is_spdx: IsSpdx) -> dict[str, Any]:
    sheet = source.datasheet
    about: dict[str, Any] = {"type": "dataset", "name": clean(source.path)}
    if people := sheet.get("people"):
        about["sensitiveData"] = [clean(people)]
    if governance := _governance(sheet, dossier):
        about["governance"] = governance
    told = [_property(key, sheet[key]) for key in sheet if sheet[key]]
    told += [_property("rows", source.rows)] if source.rows is not None else []
    told += [_property("origin", source.origin)] if source.origin else []
    if told:
        about["contents"] = {"properties": told}
    found = {"type": "data", "bom-ref": _data_reference(source), "name": clean(source.path), "data": [about]}
    if source.digest:
        found |= {"hashes": [_hash(source.digest)]}
    if sheet.get("contents"):
        found |= {"description": clean(sheet["contents"])}
    if _URL.fullmatch(source.origin):
        found |= {"externalReferences": [{"type": "distribution", "url": source.origin}]}
    return found | _licences(source.licence, is_spdx)


def _governance(sheet: Mapping[str, str], dossier: Dossier) -> dict[str, Any]:
    """Who looks after the data, who collected it, and whom to ask about the model made from it."""
    named = {
        "custodians": sheet.get("maintainer"),
        "stewards": policy(dossier, "contact"),
        "owners": sheet.get("collected_by"),
    }
    return {role: [{"organization": {"name": clean(who)}}] for role, who in named.items() if who}


def _software(dossier: Dossier) -> list[dict[str, Any]]:
    """The distributions of the environment lock, the interpreter, and programs that are none of ours."""
    found = []
    for name, version in distributions(dossier):
        kind = PROGRAMS.get(name, "library")
        purl = f"pkg:generic/{name}@{quote(version)}" if name in PROGRAMS else pypi(name, version)
        found.append({"type": kind, "bom-ref": purl, "name": name, "version": version, "purl": purl})
    return found


def _pedigree(dossier: Dossier) -> dict[str, Any]:
    distilled = setting(dossier, "train", "recipe") == "distill"
    base = setting(dossier, "train", "teacher") or setting(dossier, "train", "base")
    if base:
        ancestor = {"type": "machine-learning-model", "bom-ref": "base", "name": clean(str(base))}
        notes = "taught by this model, from random weights" if distilled else "fine-tuned from the base model"
        return {"pedigree": {"ancestors": [ancestor], "notes": notes}}
    if setting(dossier, "train", "recipe") == "scratch":
        return {"pedigree": {"notes": "trained from random weights; there is no base model"}}
    return {}


def _references(dossier: Dossier, is_spdx: IsSpdx) -> list[dict[str, Any]]:
    """Signed statements and settings by where they lie in the OCI layout of the release; the text of the licence."""
    found = [_blob("attestation", one, "signed statement of evidence") for one in envelopes(dossier)]
    if dossier.release is not None:
        found.append(_blob("distribution", dossier.release.digest, "manifest of the release in its OCI layout"))
    measured = {one.envelope for metric in _metrics(dossier) for one in proofs(dossier, metric, "shipped")}
    found += [_blob("quality-metrics", one, "signed evaluation") for one in sorted(filter(None, measured))]
    kinds = {"serve.json": "configuration", "spec.json": "build-meta", "data/manifest.json": "evidence"}
    found += [_blob(kinds[one.path], one.digest, one.path) for one in files(dossier) if one.path in kinds]
    licence = policy(dossier, "licence")
    if licence and is_spdx(licence):
        found.append({"type": "license", "url": f"https://spdx.org/licenses/{quote(licence)}.html"})
    contact = policy(dossier, "contact")
    if contact and (mail := _MAIL.search(contact)):
        found.append({"type": "support", "url": f"mailto:{mail[0]}"})
    return found


def _metrics(dossier: Dossier) -> set[str]:
    return {one.evidence.metric for one in dossier.proofs if one.evidence.slice}


def _blob(kind: str, digest: Digest, comment: str) -> dict[str, Any]:
    return {"type": kind, "url": f"blobs/{digest.replace(':', '/')}", "comment": comment, "hashes": [_hash(digest)]}


def _supplier(dossier: Dossier) -> dict[str, Any]:
    contact = policy(dossier, "contact")
    if not contact:
        return {}
    mail = _MAIL.search(contact)
    return {"supplier": {"name": clean(contact), **({"contact": [{"email": mail[0]}]} if mail else {})}}


def _licences(said: str | None, is_spdx: IsSpdx) -> dict[str, Any]:
    if not said:
        return {}
    return {"licenses": [{"license": {"id": said} if is_spdx(said) else {"name": clean(said)}}]}


def _properties(dossier: Dossier) -> list[dict[str, str]]:
    """How it was trained and how it is served, as far as known."""
    plain = {f"train:{key}": value for key, value in training(dossier).items() if isinstance(value, int | float | str)}
    shape = {f"shape:{key}": value for key, value in architecture(dossier).items()}
    known: dict[str, Any] = {
        **plain,
        **shape,
        "parameters": parameters(dossier),
        "precision": setting(dossier, "compress", "precision") if dossier.ships != "train" else None,
        "engine": document(dossier, "serve.json", "engine") or setting(dossier, "serve", "engine"),
        **{f"digest:{role}": digest for role, digest in dossier.subjects.items()},
    }
    loss = proofs(dossier, "train_loss", "train")
    if loss and finite(loss[0].evidence.value):
        known["train:loss"] = number(loss[0].evidence.value)
    return [_property(name, value) for name, value in sorted(known.items()) if value is not None]


def _property(name: str, value: object) -> dict[str, str]:
    return {"name": f"guideway:{name}", "value": clean(str(value))}


def _data_reference(source: DataSource) -> str:
    return f"data:{quote(source.path)}"


def _hash(digest: Digest) -> dict[str, str]:
    return {"alg": "SHA-256", "content": digest.removeprefix("sha256:")}


def _oci(dossier: Dossier) -> str:
    assert dossier.release is not None
    return f"pkg:oci/{quote(dossier.name)}@{quote(dossier.release.digest, safe='')}"


def pypi(name: str, version: str) -> str:
    """The package URL of a Python distribution, with its normal name."""
    return f"pkg:pypi/{re.sub(r'[-_.]+', '-', name).lower()}@{quote(version)}"
