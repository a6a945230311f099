"""The points of Annex IV of the EU AI Act, each with the fields that fill it and the parts that show more."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from guideway.core.gate import Verdict
from guideway.standard.clauses import Clause, default_clauses
from guideway.standard.reports import fields, figures, parts, sayings
from guideway.standard.reports.drawn import Drawn, document, judgement, setting, sliced_metrics, sources
from guideway.standard.reports.fields import Field
from guideway.standard.reports.page import Block
from guideway.standard.reports.words import Cell, Words, both, code, pair


class Point(NamedTuple):
    """One point: its number in the annex, a heading of ours, what fills it, and what else is shown under it."""

    id: str
    title: Words
    fields: tuple[Field, ...]
    more: Callable[[Drawn], tuple[Block, ...]] | None = None


@cache
def points() -> tuple[Point, ...]:
    """The points in the order of the annex; one with a letter belongs to the number before it."""
    return (*_general(), *_development(), *_operation())


def _general() -> tuple[Point, ...]:
    f, provider = fields, _by_hand("provider", "Name of the provider", "提供者名称")
    return (
        _point(
            "1a",
            *("Purpose, provider and version", "用途、提供者与版本"),
            *(f.INTENDED_USE, provider, f.CONTACT, f.RELEASE, f.PREDECESSOR),
        ),
        _point("1b", "How it works together with other systems", "与其他系统的交互", INTERFACE, f.ENGINE),
        _point("1c", "Software that it needs, with versions", "所需软件及版本", f.SOFTWARE, f.SIGNERS),
        _point("1d", "The form in which it is delivered", "交付形式", FORM, f.SIZE, f.DIGEST),
        _point("1e", "Hardware that it runs on", "运行硬件", _clause("CMP-03")),
        _point(
            "1f",
            "Pictures, where it is part of a product",
            "作为产品部件时的图示",
            _by_hand("pictures", "Pictures", "图示"),
        ),
        _point(
            "1g",
            "What the deployer's people see",
            "部署方人员所见的界面",
            INTERFACE,
            _by_hand("screens", "Screens", "界面"),
        ),
        _point(
            "1h",
            "Instructions for the deployer",
            "给部署方的使用说明",
            f.INTENDED_USE,
            f.LIMITS,
            f.OVERSIGHT,
            f.DECODING,
        ),
    )


def _development() -> tuple[Point, ...]:
    f, reasons = fields, _by_hand("reasons", "Reasons for the main choices", "主要选择的理由")
    return (
        _point(
            "2a", "How it was made, and from what of others", "开发方法与所用的第三方成果", STEPS, *f.TRAINING, f.COMMIT
        ),
        _point(
            "2b",
            "Design: what it computes and optimises for",
            "设计：计算与优化目标",
            f.TASK,
            *f.SHAPE,
            f.PRECISION,
            reasons,
        ),
        _point(
            "2c",
            "Architecture of the system and computing power used",
            "系统架构与所用算力",
            f.ENGINE,
            _clause("TRN-03"),
        ),
        Point("2d", Words("Data", "数据"), DATA, lambda drawn: (*parts.data(drawn), *parts.datasheets(drawn))),
        _point("2e", "How people can step in and understand it", "人工监督与可解释性", f.OVERSIGHT, _clause("EXP-01")),
        _point(
            "2f",
            "Changes that are planned beforehand",
            "预先确定的变更",
            _by_hand("changes", "Planned changes", "计划的变更"),
        ),
        Point(
            "2g",
            Words("Validation and testing", "验证与测试"),
            (
                MEASURED,
                f.SIGNERS,
                *map(_clause, ("DAT-03", "EVL-01", "EVL-02", "EVL-03", "CMP-01", "CMP-02", "ROB-01")),
            ),
            lambda drawn: (*figures.evaluation(drawn), *figures.compression(drawn), *parts.approvals(drawn)),
        ),
        _point(
            "2h",
            "Cybersecurity",
            "网络安全",
            *map(_clause, ("SEC-01", "SEC-02", "SEC-03", "SEC-05", "SEC-06", "ROB-02")),
        ),
    )


def _operation() -> tuple[Point, ...]:
    f, c = fields, _clause
    return (
        _point(
            "3",
            *("What it can and cannot do, and how it is watched and controlled", "能力、局限、监测与控制"),
            *(f.LIMITS, f.OVERSIGHT, f.SHAPE[-1], MEASURED, c("EVL-02"), c("ROB-01"), c("ROB-03"), c("OPS-01")),
        ),
        _point(
            "4", "Why these figures fit", "指标的适当性", COMPARED, _by_hand("why", "Why they were chosen", "选择理由")
        ),
        Point(
            "5",
            Words("Risk management", "风险管理"),
            (c("PRV-02"), c("EVL-04"), _by_hand("risks", "The risk management system", "风险管理制度")),
            parts.waivers,
        ),
        _point("6", "What changed over its life", "生命周期内的变更", f.PREDECESSOR, c("REL-01")),
        Point(
            "7",
            Words("Standards that were applied", "所采用的标准"),
            (_by_hand("harmonised", "Harmonised standards", "协调标准"), STANDARDS),
            parts.laws_asked,
        ),
        _point(
            "8",
            "EU declaration of conformity",
            "欧盟符合性声明",
            _by_hand("declaration", "The declaration", "声明文本"),
        ),
        _point(
            "9",
            *("How it is watched once it serves", "投入使用后的监测"),
            *(c("OPS-01"), c("OPS-02"), c("OPS-06"), _by_hand("plan", "The plan for it", "监测计划")),
        ),
    )


def _point(id: str, en: str, zh: str, *found: Field) -> Point:
    return Point(id, Words(en, zh), found)


def _by_hand(name: str, en: str, zh: str) -> Field:
    how = Words(
        "Guideway keeps no record of this; the provider adds it by hand.", "Guideway 不记录此项，由提供者自行补充。"
    )
    return Field(name, Words(en, zh), lambda drawn: None, how)


def _clause(id: str) -> Field:
    """What a clause found: a verdict either way is something to document, no verdict is not."""
    clause = next(one for one in default_clauses() if one.id == id)

    def draw(drawn: Drawn) -> Cell | None:
        found = judgement(drawn, id)
        if found is None or found.verdict is Verdict.UNKNOWN:
            return None
        figure = Words(": {figure}, limit {limit}", "：{figure}，限值 {limit}")
        return (
            code(id),
            " ",
            sayings.verdict(found),
            figure.fill(figure=sayings.figure(found), limit=sayings.limit(found)),
        )

    return Field(id, pair(clause.en, clause.zh), draw, _how(clause))


def _how(clause: Clause) -> Words:
    words = Words("`{command}` leaves the proof ({proof}).", "`{command}` 会留下证据（{proof}）。")
    return words.fill(command=clause.command, proof=both(clause.proof))


def _interface(drawn: Drawn) -> Cell | None:
    paths = {"chat": "/v1/chat/completions", "completion": "/v1/completions", "embed": "/v1/embeddings"}
    task = str(setting(drawn.dossier, "task"))
    if task == "classify":
        path = f"/v2/models/{drawn.dossier.name}/infer"
        said = Words(
            "HTTP with JSON: Open Inference Protocol v2, `{path}`", "HTTP 与 JSON：Open Inference Protocol v2，`{path}`"
        )
        return said.fill(path=path)
    found = paths.get(task)
    if found is None:
        return None
    return Words("HTTP with JSON, in the manner of OpenAI: `{path}`", "HTTP 与 JSON，兼容 OpenAI 接口：`{path}`").fill(
        path=found
    )


def _form(drawn: Drawn) -> Cell | None:
    if drawn.dossier.release is None:
        return None
    return Words("an OCI artifact in the CNCF ModelPack format", "CNCF ModelPack 格式的 OCI 制品")


def _steps(drawn: Drawn) -> Cell | None:
    return code(", ".join(drawn.dossier.steps)) if drawn.dossier.steps else None


def _measured(drawn: Drawn) -> Cell | None:
    found = sliced_metrics(drawn.dossier)
    return code(", ".join(found)) if found else None


def _compared(drawn: Drawn) -> Cell | None:
    words = Words("each figure stands beside that of a simple baseline: ", "每个指标都与简单基线并列：")
    names = {one.evidence.metric for one in drawn.dossier.proofs}
    found = [name for name in sliced_metrics(drawn.dossier) if f"baseline_{name}" in names]
    return (words, code(", ".join(found))) if found else None


def _sources(drawn: Drawn) -> Cell | None:
    found = sources(drawn.dossier)
    return Words("{n} listed", "共 {n} 个").fill(n=len(found)) if found else None


def _said_of_all(key: str) -> Callable[[Drawn], Cell | None]:
    def draw(drawn: Drawn) -> Cell | None:
        found = sources(drawn.dossier)
        said = [getattr(one, key) for one in found]
        return ", ".join(dict.fromkeys(said)) if found and all(said) else None

    return draw


def _datasheets(drawn: Drawn) -> Cell | None:
    found = sources(drawn.dossier)
    whole = all(all(one.datasheet.get(key) for key in parts.DATASHEET) for one in found)
    return Words("every question answered", "全部问题均已回答") if found and whole else None


def _cleaning(drawn: Drawn) -> Cell | None:
    found = document(drawn.dossier, "data/manifest.json", "cleaning")
    return code(", ".join(f"{name}: {value}" for name, value in sorted(found.items()))) if found else None


def _standards(drawn: Drawn) -> Cell | None:
    found = [one for one in parts.asked_by(drawn) if one.proven]
    words = Words("clauses that {n} other texts ask for are proven", "已证明 {n} 份其他文件所要求的条款")
    return words.fill(n=len(found)) if found else None


_FILL_IN = Words("Fill in `data.sources` and build again.", "请填写 `data.sources` 并重新构建。")
INTERFACE = Field("interface", Words("Interface", "接口"), _interface, fields.BUILD)
FORM = Field("form", Words("Form", "形式"), _form, fields.SEAL)
STEPS = Field("steps", Words("Stages of the pipeline", "流水线阶段"), _steps, fields.BUILD)
MEASURED = Field("measured", Words("Figures measured", "已测量的指标"), _measured, figures.BUILD_FIRST)
COMPARED = Field("compared", Words("Compared with", "比较对象"), _compared, figures.BUILD_FIRST)
STANDARDS = Field("standards", Words("Other texts", "其他文件"), _standards, fields.BUILD)
DATA = (
    Field("sources", Words("Sources", "来源"), _sources, _FILL_IN),
    Field("licences", Words("Licences", "许可证"), _said_of_all("licence"), _FILL_IN),
    Field("origins", Words("Origins", "出处"), _said_of_all("origin"), _FILL_IN),
    Field("datasheets", Words("Datasheets", "数据说明"), _datasheets, _FILL_IN),
    Field("cleaning", Words("Cleaning", "清洗"), _cleaning, fields.BUILD),
)
