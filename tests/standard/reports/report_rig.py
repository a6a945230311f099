"""Dossiers made by hand: a rich one, where everything is filled in, and an empty one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from guideway.core.artifact import File, digest_of
from guideway.core.dossier import Approval, Dossier, Proof, Waiver, environment_subject, organisation_subject
from guideway.core.evidence import Evidence, Interval, Producer, Subject
from guideway.core.release import Release
from guideway.core.spec import Spec, build_part
from guideway.standard import default_clauses, judge_all, team_clauses
from guideway.standard.reports import Drawn

AT = 1_764_000_000.0
DAY = 86400.0
DATASHEET = {
    "purpose": "To ask where names of the standard library stand.",
    "contents": "Questions and answers in English.",
    "collected_by": "The library team",
    "collected_when": "November 2025",
    "people": "No person is in it.",
    "rights": "PSF-2.0 covers all of it.",
    "uses": "Fit for demonstrations, unfit for advice.",
    "maintainer": "library@example.org",
}
POLICY = {
    "licence": "Apache-2.0",
    "intended_use": "Answers questions about the standard library.",
    "limits": "Knows nothing newer than its data.",
    "oversight": "An editor reads every answer before it is published.",
    "contact": "Library team <ask@example.org>",
}
SPEC: dict[str, Any] = {
    "guideway": 1,
    "name": "librarian",
    "task": "chat",
    "data": {
        "sources": [{"path": "data/*.jsonl", "licence": "PSF-2.0", "origin": "docstrings", "datasheet": DATASHEET}],
        "splits": {"phrasings": {"share": 0.1}, "unseen": {"share": 0.1, "judged": False}},
    },
    "train": {"steps": 1200, "batch": 64},
    "policy": POLICY,
}
SUBJECTS = {
    name: digest_of(name) for name in ("data", "train", "compress", "evaluate", "package", "release", "code")
} | {
    "environment": environment_subject("librarian", "prod"),
    "organisation": organisation_subject("library"),
}
FILES = tuple(
    File(path, size, digest_of(path))
    for path, size in (
        ("model/model.onnx", 1_200_000),
        ("model/model.onnx.data", 4_800_000),
        ("model/tokenizer.json", 90_000),
        ("model/config.json", 700),
        ("model/genai_config.json", 1500),
        ("serve.json", 300),
        ("policy.json", 400),
        ("spec.json", 2000),
        ("environment.lock", 200),
        ("data/manifest.json", 1800),
    )
)
RELEASE = Release(SUBJECTS["release"], "librarian", 3, AT - DAY, FILES)
KINDS = {
    "data": "data",
    "release": "release",
    "environment": "environment",
    "code": "code",
    "organisation": "organisation",
}


def fact(metric: str, value: float, about: str, unit: str = "", **more: Any) -> Proof:
    """One signed proof about one subject of the rich dossier."""
    evidence = Evidence(
        metric=metric,
        value=value,
        unit=unit,
        subject=Subject(KINDS.get(about, "artifact"), SUBJECTS[about], about),  # type: ignore[arg-type]
        produced_by=Producer(f"guideway/{about}", "0.1.0"),
        at=AT - DAY,
        **more,
    )
    return Proof(evidence, digest_of(evidence), digest_of(f"envelope of {about}"), "builder")


def _measured(about: str, shift: float) -> list[Proof]:
    found = []
    for name, right, guess in (("phrasings", 0.93, 0.61), ("unseen", 0.04, 0.02)):
        around = Interval(right + shift - 0.02, right + shift + 0.02, 0.95, "wilson")
        found += [
            fact("exact_match", right + shift, about, "share", n=400, slice=name, interval=around),
            fact("baseline_exact_match", guess, about, "share", n=400, slice=name, interval=around),
            fact("perplexity", 2.5, about, n=5200, slice=name, interval=Interval(2.4, 2.6, 0.95, "bootstrap")),
            fact("baseline_perplexity", 9.5, about, n=5200, slice=name, interval=Interval(9.1, 9.9, 0.95, "bootstrap")),
        ]
    return found


def proofs() -> tuple[Proof, ...]:
    """What a build leaves, and what people brought."""
    return (
        *_measured("compress", 0.0),
        *_measured("train", 0.01),
        fact("rows", 400, "data", "rows", n=400, slice="phrasings"),
        fact("rejected_rows", 0.0, "data", "share", n=9000),
        fact("exact_overlap", 0, "data", "rows", slice="phrasings"),
        fact("near_overlap", 0.0, "data", "share", slice="phrasings", automatic=False),
        fact("sources_without_origin", 0, "data", "sources"),
        fact("sources_without_licence", 0, "data", "sources"),
        fact("datasheet_completeness", 1.0, "data", "share"),
        fact("train_loss", 0.31, "train", "nats/token", n=1200),
        fact("non_finite_weights", 0, "train", "weights", n=1_512_448),
        fact("non_finite_outputs", 0, "compress", "rows", n=400),
        fact(
            "kl_to_source",
            0.0012,
            "compress",
            "nats/token",
            n=2000,
            interval=Interval(0.001, 0.0014, 0.95, "bootstrap"),
        ),
        fact("top1_flips", 0.011, "compress", "share", n=2000, interval=Interval(0.007, 0.016, 0.95, "wilson")),
        fact("model_bytes", 6_000_000, "compress", "bytes"),
        fact("unsafe_files", 0, "package", "files"),
        fact("secrets", 0, "package", "findings"),
        fact("secrets_in_logs", 2, "package", "findings"),
        fact("trusted_signatures", 1, "release", "signatures"),
        fact("steps_without_provenance", 0, "release", "steps"),
        fact("use_fields_missing", 0, "release", "fields"),
        fact("approvals_by_others", 1, "release", "approvals"),
        fact("unlabelled_share", 0.0, "release", "share", automatic=False),
        fact("tests_failed", 0, "code", "tests", n=300, automatic=False),
        fact("lint_errors", 0, "code", "errors", automatic=False),
        fact("line_coverage", 0.91, "code", "share", automatic=False),
        fact("rollback_seconds", 3.0, "environment", "s", valid_until=AT - 3600),
    )


def documents(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The small files of the rich release."""
    source = {"path": "data/facts.jsonl", "digest": digest_of("facts"), "bytes": 812_000, "rows": 9000}
    source |= {"format": "jsonl", "licence": "PSF-2.0", "origin": "docstrings"}
    splits = {"train": {"rows": 8100, "digest": digest_of("rows of train")}}
    for name in ("phrasings", "unseen"):
        splits[name] = {"rows": 400, "digest": digest_of(f"rows of {name}"), "exact_overlap": 0}
    return {
        "spec.json": spec,
        "policy.json": spec["policy"],
        "serve.json": {"name": "librarian", "engine": "onnx", "decoding": {"temperature": 0.0, "max_tokens": 128}},
        "environment.lock": "python==3.11.9\nguideway==0.1.0\nonnxruntime==1.32.0\ntokenizers==0.22.1\n",
        "data/manifest.json": {
            "sources": [source],
            "rows": {"read": 9000, "kept": 8900, "duplicates": 80, "empty": 20, "rejected": 0},
            "splits": splits,
            "cleaning": {"unicode": "NFC", "control_characters": "removed"},
        },
        "model/config.json": {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "num_hidden_layers": 2},
        "model/genai_config.json": {
            "model": {
                "type": "llama",
                "context_length": 128,
                "vocab_size": 2048,
                "decoder": {"hidden_size": 128, "num_attention_heads": 4},
            }
        },
    }


def plain_spec(**changes: Any) -> dict[str, Any]:
    """The build part of the rich spec, with *changes* at the top level."""
    return build_part(msgspec.convert({**SPEC, **changes}, Spec))


def rich(**changes: Any) -> Dossier:
    """Everything filled in; *changes* replace fields of the dossier."""
    spec = changes.pop("spec", None) or plain_spec()
    found: dict[str, Any] = {
        "name": "librarian",
        "environment": "prod",
        "spec": spec,
        "subjects": SUBJECTS,
        "ships": "compress",
        "proofs": proofs(),
        "release": RELEASE,
        "previous": Release(digest_of("before"), "librarian", 2, AT - 9 * DAY),
        "steps": {"data": {}, "train": dict(spec["train"]), "compress": {"precision": "int8"}, "package": {}},
        "approvals": (
            Approval(RELEASE.digest, "prod", "mei", "key-2", "read and tried", AT - 3600, digest_of("approval")),
        ),
        "waivers": (
            _waiver("OPS-05", "no load is expected yet", AT + 30 * DAY),
            _waiver("OPS-04", "long gone", AT - DAY),
        ),
        "documents": documents(spec),
    }
    return Dossier(**{**found, **changes})


def _waiver(clause: str, reason: str, until: float) -> Waiver:
    return Waiver(digest_of(reason), "librarian", "prod", (clause,), reason, "li", AT - 40 * DAY, until)


def empty() -> Dossier:
    """Nothing is known but the name."""
    return Dossier(name="librarian", environment="prod", spec={}, subjects={}, ships="train", proofs=())


def drawn(dossier: Dossier, at: float = AT) -> Drawn:
    """The dossier with every clause judged as in production."""
    clauses = (*default_clauses(), *team_clauses(dossier.spec))
    judged = judge_all(clauses, dossier, level="prod", when=("seal", "admit", "serve"), at=at)
    return Drawn(dossier, judged, clauses, at)


def with_policy(dossier: Dossier, **changes: str) -> Dossier:
    """The same with other words in its policy, in the spec and in the release."""
    spec = {**dossier.spec, "policy": {**dossier.spec["policy"], **changes}}
    papers = {**dossier.documents, "policy.json": spec["policy"], "spec.json": spec}
    return msgspec.structs.replace(dossier, spec=spec, documents=papers)


def in_chinese() -> Dossier:
    """The rich dossier of a team that writes Chinese: whatever English a report then holds is the report's own."""
    sheet = dict.fromkeys(DATASHEET, "文字")
    source = {"path": "data/*.jsonl", "licence": "PSF-2.0", "origin": "文档", "datasheet": sheet}
    policy = {**dict.fromkeys(POLICY, "文字"), "licence": "Apache-2.0"}
    spec = plain_spec(data={**SPEC["data"], "sources": [source]}, policy=policy)
    papers = documents(spec)
    papers["data/manifest.json"]["sources"][0]["origin"] = "文档"
    waivers = (_waiver("OPS-05", "暂无负载", AT + 30 * DAY), _waiver("OPS-04", "早已过期", AT - DAY))
    approvals = (Approval(RELEASE.digest, "prod", "梅", "key-2", "已阅", AT - 3600, digest_of("approval")),)
    return rich(spec=spec, documents=papers, waivers=waivers, approvals=approvals)
