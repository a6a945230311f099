"""Parts that several reports share: data, waivers, files, provenance, how much is proven, how to verify."""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from typing import NamedTuple

import msgspec

from guideway.core.artifact import short
from guideway.core.gate import Verdict
from guideway.standard.clauses import DATA, Strict, laws, read_yaml
from guideway.standard.reports import sayings
from guideway.standard.reports.drawn import DataSource, Drawn, day, document, files, sources, waivers_in_force
from guideway.standard.reports.fields import HEADER, shown
from guideway.standard.reports.page import Bar, Bars, Block, Commands, Facts, Heading, Items, Paragraph, Table
from guideway.standard.reports.words import Cell, Piece, Run, Words, both, code, missing, pair
from guideway.standard.scores import Coverage, by_level, by_theme, overall

NOT_SAID = Run("–")
ORIGIN = Words("Fill in `origin` in `data.sources`.", "请填写 `data.sources` 中的 `origin`。")
DATASHEET_HOW = Words("Fill in `datasheet.{key}` in `data.sources`.", "请填写 `data.sources` 中的 `datasheet.{key}`。")
DATASHEET: dict[str, Words] = {
    "purpose": Words("Made for", "收集目的"),
    "contents": Words("What it holds", "内容"),
    "collected_by": Words("Collected by", "收集者"),
    "collected_when": Words("Collected when", "收集时间"),
    "people": Words("People in it", "涉及的个人"),
    "rights": Words("Rights", "权利"),
    "uses": Words("Fit and unfit uses", "适用与不适用的用途"),
    "maintainer": Words("Looked after by", "维护者"),
}


def header(drawn: Drawn) -> tuple[tuple[Cell, Cell], ...]:
    """What every report says first: which release, for which environment, and when it was drawn."""
    named = tuple((field.label, shown(field, drawn)) for field in HEADER)
    proven = overall(drawn.clauses, drawn.judgements)
    said = Words("{proven} of {total} clauses proven", "{total} 条条款中已证明 {proven} 条")
    return (
        *named,
        (Words("Environment", "环境"), code(drawn.dossier.environment)),
        (Words("The Standard", "标准"), said.fill(proven=proven.proven, total=proven.total)),
        (Words("Drawn", "生成日期"), day(drawn.at)),
    )


def data(drawn: Drawn) -> tuple[Block, ...]:
    """Where the data came from, how it was divided and cleaned."""
    found = sources(drawn.dossier)
    if not found:
        how = Words("List `data.sources` and run `guideway build`.", "请列出 `data.sources` 并运行 `guideway build`。")
        return (Paragraph(missing(how)),)
    columns = (
        Words("Source", "来源"),
        Words("Rows", "行数"),
        Words("Licence", "许可证"),
        Words("Origin", "出处"),
        Words("Digest", "摘要"),
    )
    rows = tuple(
        (
            code(one.path),
            f"{one.rows:,}" if one.rows is not None else missing(),
            one.licence or missing(),
            one.origin or missing(),
            code(short(one.digest)) if one.digest else missing(),
        )
        for one in found
    )
    return (Table(columns, rows), *_splits(drawn), *_cleaning(drawn))


def datasheets(drawn: Drawn) -> tuple[Block, ...]:
    """The datasheet of every source; what it does not say is named."""
    found = sources(drawn.dossier)
    blocks: list[Block] = []
    for one in found:
        blocks += [Heading(3, Words("{path}", "{path}").fill(path=one.path)), Facts(_sheet(one))]
    return tuple(blocks) or data(drawn)


def _sheet(source: DataSource) -> tuple[tuple[Cell, Cell], ...]:
    origin = (Words("Origin", "出处"), source.origin or missing(ORIGIN))
    rows = [
        (name, source.datasheet.get(key) or missing(DATASHEET_HOW.fill(key=key))) for key, name in DATASHEET.items()
    ]
    return (origin, *rows)


def _splits(drawn: Drawn) -> tuple[Block, ...]:
    found = document(drawn.dossier, "data/manifest.json", "splits")
    if not found:
        return (Paragraph(missing(Words("No manifest of the data was kept.", "没有保存数据清单。"))),)
    columns = (
        Words("Split", "拆分"),
        Words("Rows", "行数"),
        Words("Also in training", "与训练重复"),
        Words("Digest", "摘要"),
    )
    rows = tuple(
        (
            code(str(name)),
            f"{one.get('rows', 0):,}",
            str(one["exact_overlap"]) if "exact_overlap" in one else NOT_SAID,
            code(short(str(one.get("digest", "")))) if one.get("digest") else missing(),
        )
        for name, one in found.items()
    )
    return (Table(columns, rows),)


def _cleaning(drawn: Drawn) -> tuple[Block, ...]:
    rows = document(drawn.dossier, "data/manifest.json", "rows")
    if not rows:
        return ()
    words = Words(
        "Of {read} rows read, {kept} were kept: {duplicates} duplicates, {empty} empty and {rejected} broken rows were"
        " left out.",
        "读入 {read} 行，保留 {kept} 行：去除重复 {duplicates} 行、空行 {empty} 行、损坏 {rejected} 行。",
    )
    names = ("read", "kept", "duplicates", "empty", "rejected")
    said: tuple[Piece, ...] = (words.fill(**{name: f"{rows.get(name, 0):,}" for name in names}),)
    cleaning = document(drawn.dossier, "data/manifest.json", "cleaning") or {}
    if cleaning.get("unicode"):
        unicode = Words(" Text was brought to Unicode {form}.", "文本统一为 Unicode {form}。")
        said += (unicode.fill(form=cleaning["unicode"]),)
    if cleaning.get("control_characters") == "removed":
        said += (Words(" Control characters were removed.", "控制字符已去除。"),)
    return (Paragraph(said),)


def waivers(drawn: Drawn) -> tuple[Block, ...]:
    """Who let what pass unproven, why, and until when."""
    found = waivers_in_force(drawn)
    if not found:
        return (Paragraph(Words("No waiver is in force.", "没有生效中的豁免。")),)
    columns = (
        Words("Clauses", "条款"),
        Words("Reason", "理由"),
        Words("By", "批准人"),
        Words("From", "开始"),
        Words("Until", "截止"),
    )
    rows = tuple(
        (code(", ".join(one.clauses)), one.reason, one.signer, day(one.since), day(one.until)) for one in found
    )
    return (Table(columns, rows),)


def approvals(drawn: Drawn) -> tuple[Block, ...]:
    """Who approved the release for this environment."""
    found = [one for one in drawn.dossier.approvals if one.environment == drawn.dossier.environment]
    if not found:
        how = Words(
            "`guideway approve` lets somebody other than the author approve it.",
            "`guideway approve` 由作者之外的人批准。",
        )
        return (Paragraph(missing(how)),)
    columns = (Words("Approved by", "批准人"), Words("When", "时间"), Words("Why", "理由"))
    return (Table(columns, tuple((one.by, day(one.at), one.why or NOT_SAID) for one in found)),)


def clause_table(drawn: Drawn, ids: Collection[str] | None = None) -> tuple[Block, ...]:
    """The judgement of every clause, or of those that start with one of *ids*."""
    found = tuple(one for one in drawn.judgements if ids is None or any(one.clause.startswith(id) for id in ids))
    if not found:
        return (Paragraph(missing(Words("No clause was judged.", "没有评判任何条款。"))),)
    return (sayings.table(found),)


def proven(drawn: Drawn) -> tuple[Block, ...]:
    """How much of the Standard is proven, by level and by theme."""
    clauses, judgements = drawn.clauses, drawn.judgements
    levels = [_bar(one, _LEVEL.fill(level=one.name)) for one in by_level(clauses, judgements) if one.total]
    themes = [_bar(one, both(one.text)) for one in by_theme(clauses, judgements) if one.total]
    if not levels and not themes:
        return clause_table(drawn)
    return (Bars(tuple(levels)), Heading(3, Words("By theme", "按主题")), Bars(tuple(themes)))


_LEVEL = Words("blocks in {level}", "在 {level} 阻断的条款")


def _bar(one: Coverage, name: Words) -> Bar:
    return Bar(
        name, one.share, Words("{proven} of {total}", "{proven} / {total}").fill(proven=one.proven, total=one.total)
    )


class Asked(NamedTuple):
    """The key of one law or standard, and how many of the clauses that it asks for are proven."""

    law: str
    clauses: int
    proven: int


def asked_by(drawn: Drawn) -> tuple[Asked, ...]:
    """The texts that ask for the clauses that were judged."""
    ids: dict[str, set[str]] = {}
    for clause in drawn.clauses:
        for place in clause.asked_by:
            ids.setdefault(place.partition(":")[0], set()).add(clause.id)
    found = []
    for key in laws():
        judged = [one for one in drawn.judgements if one.clause in ids.get(key, ())]
        found.append(Asked(key, len(judged), sum(one.verdict is Verdict.PASS for one in judged)))
    return tuple(one for one in found if one.clauses)


def law(key: str) -> dict[str, Words]:
    """``law``, its title, and ``text``, its edition; the names of others, so nothing in them is markup."""
    one, chinese = laws()[key], _laws_in_chinese()[key]
    return {"law": pair(one.title, chinese.title), "text": pair(one.text, chinese.text)}


@cache
def _laws_in_chinese() -> dict[str, _Title]:
    return msgspec.convert(read_yaml(DATA / "laws-zh.yaml"), dict[str, _Title])


class _Title(Strict, frozen=True, kw_only=True):
    title: str
    text: str


def laws_asked(drawn: Drawn) -> tuple[Block, ...]:
    """Which laws and standards ask for the clauses, and how much of each is proven."""
    found = asked_by(drawn)
    if not found:
        return ()
    columns = (Words("Text", "文件"), Words("Edition", "版本"), Words("Clauses proven", "已证明条款"))
    said = Words("{proven} of {total}", "{proven} / {total}")
    rows = tuple((*law(one.law).values(), said.fill(proven=one.proven, total=one.clauses)) for one in found)
    return (Table(columns, rows),)


def provenance(drawn: Drawn) -> tuple[Block, ...]:
    """The digest of everything that led to the release, and of every file in it."""
    dossier = drawn.dossier
    if not dossier.subjects and not files(dossier):
        return (Paragraph(missing(Words("`guideway build` seals a release.", "`guideway build` 会封装发布。"))),)
    subjects = Table(
        (Words("What", "对象"), Words("Digest", "摘要")),
        tuple((code(name), code(digest)) for name, digest in sorted(dossier.subjects.items())),
    )
    inside = Table(
        (Words("File", "文件"), Words("Bytes", "字节"), Words("Digest", "摘要")),
        tuple((code(one.path), f"{one.size:,}", code(one.digest)) for one in files(dossier)),
    )
    return (subjects, Heading(3, Words("Files of the release", "发布中的文件")), inside)


def how_to_verify(drawn: Drawn) -> tuple[Block, ...]:
    """What anybody can type to see for themselves."""
    release = drawn.dossier.release
    name = short(release.digest) if release else "RELEASE"
    said = Words(
        "What stands above was drawn from the sealed release and from statements that trusted keys signed about it."
        " Anybody who has both can check it, without a network:",
        "以上内容来自已封装的发布，以及可信密钥就其签署的声明。任何持有二者的人都可以离线核验：",
    )
    environment = drawn.dossier.environment
    lines = (f"guideway verify {name}", f"guideway assess {name} --env {environment}")
    hint = Items(
        (
            Words(
                "`guideway verify` reads every byte again and checks the signatures.",
                "`guideway verify` 会重读每个字节并核对签名。",
            ),
            Words(
                "`guideway assess` judges every clause again on the same evidence.",
                "`guideway assess` 会用同样的证据重新评判每条条款。",
            ),
            Words(
                "A file whose `sha256sum` differs from the digest above is not the one that was judged.",
                "若文件的 `sha256sum` 与上面的摘要不同，则它不是被评判的那个文件。",
            ),
        )
    )
    return (Paragraph(said), Commands(lines), hint)
