"""The model card: Hugging Face metadata at the top, then what people must know before they use the model."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from typing import Any

import yaml

from guideway.core.artifact import Digest
from guideway.core.dossier import Dossier
from guideway.standard.reports import fields, parts
from guideway.standard.reports.clean import clean
from guideway.standard.reports.drawn import (
    Completeness,
    Drawn,
    files,
    finite,
    policy,
    proofs,
    setting,
    sliced_metrics,
    sources,
)
from guideway.standard.reports.fields import Field, facts
from guideway.standard.reports.figures import METRICS, compression, evaluation
from guideway.standard.reports.page import Heading, Page, Paragraph
from guideway.standard.reports.words import Cell, Words, missing
from guideway.standard.scores import ml_test_score

_HUB_LICENCES = """
apache-2.0 mit openrail afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear c-uda cc cc0-1.0
cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0
cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cdla-sharing-1.0 cdla-permissive-1.0
cdla-permissive-2.0 wtfpl ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 eupl-1.2 agpl-3.0 gfdl gpl gpl-2.0 gpl-3.0 lgpl
lgpl-2.1 lgpl-3.0 isc lppl-1.3c ms-pl mpl-2.0 odc-by odbl osl-3.0 postgresql ofl-1.1 ncsa unlicense zlib pddl
"""
HUB_LICENCES = frozenset(_HUB_LICENCES.split())
"""What the Hub takes under ``license``; everything else is ``other`` with a ``license_name``."""
LANGUAGES = Words(
    "Languages: not recorded; see what the data holds.", "语言：没有记录；请参见数据内容。", style="missing"
)
"""Neither the spec nor the manifest has a place for languages yet."""
HUB_TASKS = {
    "chat": "text-generation",
    "completion": "text-generation",
    "classify": "text-classification",
    "embed": "feature-extraction",
}
_HUB_DATASET = re.compile(r"(?:https://huggingface\.co/datasets/)([\w.-]+/[\w.-]+)/?")


def page(drawn: Drawn) -> Page:
    """The card without its metadata."""
    return Page(
        title=Words("{name}: model card", "{name}：模型卡").fill(name=drawn.dossier.name),
        facts=parts.header(drawn),
        blocks=(
            _head("Use", "用途"),
            facts((fields.INTENDED_USE, fields.LIMITS, fields.OVERSIGHT, fields.CONTACT, fields.LICENCE), drawn),
            Paragraph(LANGUAGES),
            _head("Data", "数据"),
            *parts.data(drawn),
            *parts.datasheets(drawn),
            _head("Training", "训练"),
            facts(fields.TRAINING, drawn),
            Heading(3, Words("Shape of the model", "模型结构")),
            facts(fields.SHAPE, drawn),
            _head("Evaluation", "评估"),
            *evaluation(drawn),
            _head("Compression and serving", "压缩与服务"),
            facts((fields.PRECISION, fields.ENGINE, fields.DECODING, fields.SIZE), drawn),
            *compression(drawn),
            _head("Safety", "安全"),
            *parts.clause_table(drawn, ("SEC-", "ROB-", "EVL-04", "PRV-")),
            _head("What is proven", "已证明的内容"),
            *parts.proven(drawn),
            Paragraph(_score(drawn)),
            Paragraph(_empty(drawn)),
            _head("Waivers in force", "生效中的豁免"),
            *parts.waivers(drawn),
            _head("Approvals", "批准"),
            *parts.approvals(drawn),
            _head("Provenance", "来源证明"),
            facts((fields.SIGNERS, fields.COMMIT, fields.SOFTWARE, fields.PREDECESSOR), drawn),
            *parts.provenance(drawn),
            _head("How to verify", "如何核验"),
            *parts.how_to_verify(drawn),
        ),
    )


def card_completeness(dossier: Dossier) -> Completeness:
    """The share of `FIELDS` that the dossier fills in, and the names of the empty ones."""
    drawn = Drawn(dossier, (), (), 0.0)
    empty = tuple(name for name, filled in FIELDS.items() if not filled(drawn))
    return Completeness(1 - len(empty) / len(FIELDS), empty)


def front_matter(drawn: Drawn) -> str:
    """The metadata of the card as YAML between two lines of dashes."""
    text = yaml.safe_dump(metadata(drawn), allow_unicode=True, sort_keys=False, width=2**30)
    return f"---\n{text}---\n\n"


def metadata(drawn: Drawn) -> dict[str, Any]:
    """The metadata of a card on the Hugging Face Hub. Keys without evidence are left out."""
    dossier = drawn.dossier
    found = _licence(policy(dossier, "licence"))
    found |= {"pipeline_tag": _hub_task(drawn.dossier), "tags": _tags(drawn)}
    if names := _datasets(dossier):
        found["datasets"] = names
    if metrics := [name for name in sliced_metrics(dossier) if name in METRICS]:
        found["metrics"] = metrics
    if results := _results(dossier):
        found["model-index"] = [{"name": clean(dossier.name), "results": results}]
    return found


def named(digest: Digest) -> str:
    """A digest as a URI (RFC 6920): what it names can be fetched from anywhere and checked."""
    raw = bytes.fromhex(digest.removeprefix("sha256:"))
    return "ni:///sha-256;" + base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _head(en: str, zh: str) -> Heading:
    return Heading(2, Words(en, zh))


def _score(drawn: Drawn) -> Cell:
    if not drawn.judgements:
        return missing()
    words = Words(
        "ML Test Score: {score} (the least of four sections; `guideway report ml-test-score` has all items).",
        "ML Test Score：{score}（四个部分中的最小值；`guideway report ml-test-score` 列出全部项目）。",
    )
    return words.fill(score=f"{ml_test_score(drawn.clauses, drawn.judgements).score:g}")


def _empty(drawn: Drawn) -> Cell:
    share, empty = card_completeness(drawn.dossier)
    if not empty:
        return Words("Every field of this card is filled in.", "本卡的全部字段均已填写。")
    words = Words(
        "This card is {share} complete. Empty: {names}.", "本卡完整度 {share}。空缺字段：{names}。", style="missing"
    )
    return words.fill(share=f"{share:.0%}", names=", ".join(empty))


def _licence(said: str | None) -> dict[str, Any]:
    if said is None:
        return {"license": "unknown"}
    plain = re.sub(r"-(only|or-later)$", "", said.lower())
    if plain in HUB_LICENCES:
        return {"license": plain}
    return {"license": "other", "license_name": _slug(said)}


def _tags(drawn: Drawn) -> list[str]:
    dossier = drawn.dossier
    engine, precision = setting(dossier, "serve", "engine"), setting(dossier, "compress", "precision")
    compressed = dossier.ships != "train"
    tags = ["guideway", engine, setting(dossier, "task"), precision if compressed else None]
    return list(dict.fromkeys(_slug(str(tag)) for tag in tags if tag))


def _hub_task(dossier: Dossier) -> str:
    return HUB_TASKS.get(str(setting(dossier, "task")), "text-generation")


def _datasets(dossier: Dossier) -> list[str]:
    """Names on the Hub where the origin is one, else the names of the files."""
    found = []
    for one in sources(dossier):
        hub = _HUB_DATASET.fullmatch(one.origin)
        found.append(hub[1] if hub else _slug(one.path.rsplit("/", 1)[-1].rsplit(".", 1)[0]))
    return list(dict.fromkeys(found))


def _results(dossier: Dossier) -> list[dict[str, Any]]:
    """One result for each slice and signed statement, with all its metrics."""
    grouped: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for metric in sliced_metrics(dossier):
        for one in proofs(dossier, metric, "shipped"):
            if finite(one.evidence.value):
                entry = {"type": _slug(metric), "value": one.evidence.value, "name": clean(metric)}
                grouped.setdefault((one.evidence.slice, one.envelope or one.digest), []).append(entry)
    return [_result(dossier, slice, source, metrics) for (slice, source), metrics in sorted(grouped.items())]


def _result(dossier: Dossier, slice: str, source: Digest, metrics: list[dict[str, Any]]) -> dict[str, Any]:
    dataset = {
        "type": _slug(f"{dossier.name}-{slice}"),
        "name": clean(f"{dossier.name}: {slice}"),
        "split": clean(slice),
    }
    if revision := dossier.subjects.get("data"):
        dataset["revision"] = revision
    return {
        "task": {"type": _hub_task(dossier)},
        "dataset": dataset,
        "metrics": metrics,
        "source": {"name": "signed evidence", "url": named(source)},
    }


def _slug(text: str) -> str:
    return re.sub(r"[^\w.-]+", "-", clean(text).lower()).strip("-.") or "unnamed"


def _draws(field: Field) -> Callable[[Drawn], bool]:
    return lambda drawn: field.draw(drawn) is not None


def _every_source(key: str) -> Callable[[Drawn], bool]:
    """Does every source of the data say *key*, of itself or in its datasheet?"""

    def filled(drawn: Drawn) -> bool:
        found = sources(drawn.dossier)
        said = [getattr(one, key) if hasattr(one, key) else one.datasheet.get(key) for one in found]
        return bool(said) and all(said)

    return filled


def _has_intervals(drawn: Drawn) -> bool:
    dossier = drawn.dossier
    found = [one.evidence for metric in sliced_metrics(dossier) for one in proofs(dossier, metric, "shipped")]
    return bool(found) and all(one.interval is not None for one in found)


def _compared(drawn: Drawn) -> bool:
    dossier = drawn.dossier
    return bool(dossier.subjects) and (dossier.ships == "train" or bool(proofs(dossier, "kl_to_source", "shipped")))


FIELDS: Mapping[str, Callable[[Drawn], bool]] = {
    **{
        field.name: _draws(field)
        for field in (
            fields.RELEASE,
            fields.INTENDED_USE,
            fields.LIMITS,
            fields.OVERSIGHT,
            fields.CONTACT,
            fields.LICENCE,
            fields.BASE,
            fields.LOSS,
            fields.PARAMETERS,
            fields.PRECISION,
            fields.ENGINE,
            fields.SOFTWARE,
            fields.SIGNERS,
        )
    },
    "data_sources": lambda drawn: bool(sources(drawn.dossier)),
    "data_licence": _every_source("licence"),
    "data_origin": _every_source("origin"),
    "data_purpose": _every_source("purpose"),
    "data_contents": _every_source("contents"),
    "data_collected_by": _every_source("collected_by"),
    "data_collected_when": _every_source("collected_when"),
    "data_people": _every_source("people"),
    "data_uses": _every_source("uses"),
    "training_parameters": lambda drawn: bool(setting(drawn.dossier, "train")),
    "architecture": lambda drawn: bool(fields.SHAPE[0].draw(drawn)),
    "evaluation": lambda drawn: bool(sliced_metrics(drawn.dossier)),
    "evaluation_intervals": _has_intervals,
    "compression": _compared,
    "safety_scan": lambda drawn: bool(proofs(drawn.dossier, "unsafe_files", "package")),
    "files": lambda drawn: bool(files(drawn.dossier)),
}
"""What a complete card holds, each field with whether a dossier fills it in; all weigh the same."""
