"""Transparency: for the people who meet the model. Its purpose, its data, how good it is, whom to ask."""

from __future__ import annotations

from guideway.core.gate import Verdict
from guideway.standard.reports import fields, parts, sayings
from guideway.standard.reports.drawn import Drawn, holds, judgement, parameters, policy, sources
from guideway.standard.reports.fields import Field, facts, lacking
from guideway.standard.reports.figures import BUILD_FIRST, SAY, in_plain_words, pictures
from guideway.standard.reports.page import Block, Heading, Items, Page, Paragraph
from guideway.standard.reports.words import Cell, Words, missing

ASKED = (fields.INTENDED_USE, fields.LIMITS, fields.OVERSIGHT, fields.CONTACT, fields.LICENCE)
PEOPLE = Words("Fill in `datasheet.people` in `data.sources`.", "请填写 `data.sources` 中的 `datasheet.people`。")
SMALL = Words(
    "It is a language model: it continues text by what it has seen. It can be wrong and sound sure.",
    "它是一个语言模型：根据见过的内容续写文本。它可能出错，而且语气肯定。",
)
RIGHTS: tuple[tuple[str, Words], ...] = (
    (
        "gdpr",
        Words(
            "Where {law} holds: you may ask what is kept about you, have it corrected or erased, have its use limited,"
            " take it with you, and object (articles 15 to 21); you need not accept a decision made by a machine alone"
            " that weighs heavily on you (article 22).",
            "在{law}适用之处：您可以查询、更正、删除与您有关的数据，限制其使用，带走数据，"
            "并提出反对（第 15 至 21 条）；"
            "对您有重大影响且完全由机器作出的决定，您可以不接受（第 22 条）。",
        ),
    ),
    (
        "pipl",
        Words(
            "Where {law} holds: you may know and decide about the use of your data (article 44), see and copy it"
            " (45), have it corrected (46) or erased (47), and ask for an explanation (48); of a decision made by a"
            " machine alone you may ask for the reasons, and refuse it (24).",
            "在{law}适用之处：您对个人信息的处理享有知情权和决定权（第 44 条），可以查阅、复制（第 45 条）、"
            "更正（第 46 条）、删除（第 47 条），并要求说明处理规则（第 48 条）；"
            "对自动化决策可以要求说明并拒绝（第 24 条）。",
        ),
    ),
    (
        "ai-act",
        Words(
            "Where {law} holds: you must be told that you speak with a machine, unless it is obvious (article 50); if"
            " it is used to decide about you in a field of high risk, you may ask for an explanation (article 86).",
            "在{law}适用之处：除非显而易见，您应被告知正在与机器对话（第 50 条）；若在高风险领域用于对您作出决定，"
            "您可以要求解释（第 86 条）。",
        ),
    ),
)
LABELS = {
    Verdict.PASS: Words(
        "A test of this release found every answer labelled as made by a machine, for people and in metadata.",
        "对该发布的测试表明，每个回答都带有人工智能生成的显式标识和元数据标识。",
    ),
    Verdict.FAIL: Words(
        "A test of this release found answers without a label.", "对该发布的测试发现有回答没有标识。", style="missing"
    ),
    Verdict.UNKNOWN: Words(
        "It is not proven that answers are labelled as made by a machine.",
        "尚未证明回答带有人工智能生成标识。",
        style="missing",
    ),
}


def page(drawn: Drawn) -> Page:
    """One page in plain words."""
    return Page(
        title=Words("{name}: what you should know", "{name}：您应当了解的内容").fill(name=drawn.dossier.name),
        facts=parts.header(drawn),
        blocks=(
            _head("What it is for", "它的用途"),
            *_use(drawn),
            _head("What it learned from", "它从哪些数据学习"),
            *parts.data(drawn),
            Heading(3, Words("People in the data", "数据中的个人")),
            _people(drawn),
            *_scanned(drawn),
            _head("How good it is, and how that was tested", "它有多好，如何测试"),
            *_tests(drawn),
            _head("What it cannot do", "它的局限"),
            Paragraph(fields.shown(fields.LIMITS, drawn)),
            _head("How its answers are marked", "回答如何标识"),
            Paragraph(_marking(drawn)),
            _head("Who answers for it, and whom to ask", "谁负责，向谁询问"),
            facts((fields.CONTACT, fields.OVERSIGHT, fields.LICENCE), drawn),
            *parts.approvals(drawn),
            _head("Your rights", "您的权利"),
            *_rights(drawn),
            _head("What is let pass for now", "目前被豁免的内容"),
            *parts.waivers(drawn),
            _head("What is not known yet", "目前尚不知道的内容"),
            *_unknown(drawn),
        ),
    )


def _head(en: str, zh: str) -> Heading:
    return Heading(2, Words(en, zh))


def _use(drawn: Drawn) -> tuple[Block, ...]:
    weights = parameters(drawn.dossier)
    size = Words("It has {n} weights.", "它有 {n} 个权重。").fill(n=f"{weights:,}") if weights else None
    said: tuple[Block, ...] = (Paragraph(fields.shown(fields.INTENDED_USE, drawn)), Paragraph(SMALL))
    return (*said, Paragraph(size)) if size else said


def _people(drawn: Drawn) -> Block:
    found = sources(drawn.dossier)
    if not found:
        return Paragraph(missing(PEOPLE))
    lines: list[Cell] = []
    for one in found:
        said = one.datasheet.get("people")
        lines.append((f"{one.path}: ", said) if said else (f"{one.path}: ", *_pieces(missing(PEOPLE))))
    return Items(tuple(lines))


def _pieces(cell: Cell) -> tuple[str | Words, ...]:
    return cell if isinstance(cell, tuple) else (cell,)  # type: ignore[return-value]


def _scanned(drawn: Drawn) -> tuple[Block, ...]:
    found = judgement(drawn, "DAT-04")
    if found is None or found.verdict is Verdict.UNKNOWN:
        words = Words(
            "It is not proven that the data was searched for personal data.",
            "尚未证明对数据做过个人信息扫描。",
            style="missing",
        )
    elif found.verdict is Verdict.PASS:
        words = Words(
            "The data was searched for personal data, what is left is within the limit, and the legal ground is named.",
            "数据做过个人信息扫描，残留在限值之内，并写明了合法性基础。",
        )
    else:
        words = Words(
            "A search of the data found more personal data than allowed.", "扫描发现的个人信息超过限值。", style="bad"
        )
    return (Paragraph(words),)


def _tests(drawn: Drawn) -> tuple[Block, ...]:
    said = in_plain_words(drawn)
    if not said:
        return (Paragraph(missing(BUILD_FIRST)),)
    how = Words(
        "It was asked about text that was kept away from it while it learned. What a figure says of other questions"
        " than these, nobody has measured.",
        "测试所用的文本在训练时没有给它看过。除此之外的问题，这些数字没有测量过。",
    )
    return (Paragraph(how), Items(said), *pictures(drawn, SAY))


def _marking(drawn: Drawn) -> Words:
    found = judgement(drawn, "PRV-04")
    return LABELS[found.verdict if found else Verdict.UNKNOWN]


def _rights(drawn: Drawn) -> tuple[Block, ...]:
    """The rights that laws give, and whom to turn to; nothing is said of laws that this does not know."""
    lines: list[Cell] = [words.fill(**parts.law(law)) for law, words in RIGHTS]
    contact = policy(drawn.dossier, "contact")
    ask = Words("To use them, write to: {contact}", "行使权利请联系：{contact}")
    lines.append(ask.fill(contact=contact) if contact else fields.shown(fields.CONTACT, drawn))
    erased = (
        Words("A test showed that erasing a person leaves nothing behind.", "测试表明按人删除后不留痕迹。")
        if holds(drawn, "PRV-03")
        else Words(
            "It is not proven that erasing a person leaves nothing behind.",
            "尚未证明按人删除后不留痕迹。",
            style="missing",
        )
    )
    return (Items((*lines, erased)),)


def _unknown(drawn: Drawn) -> tuple[Block, ...]:
    """Fields that nobody filled in, and clauses that are not proven: what an honest reader must reckon with."""
    empty: list[Cell] = [_field(field) for field in lacking(ASKED, drawn)]
    unproven = [one for one in drawn.judgements if one.verdict is not Verdict.PASS]
    open_: list[Cell] = [(sayings.verdict(one), " ", sayings.asks(one)) for one in unproven]
    if not drawn.judgements:
        empty.append(Words("No clause of the Standard was judged.", "没有评判标准中的任何条款。"))
    if not empty and not open_:
        return (Paragraph(Words("Nothing that the Standard asks for is open.", "标准所要求的内容均已证明。")),)
    return tuple(Items(tuple(lines)) for lines in (empty, open_) if lines)


def _field(field: Field) -> Words:
    return Words("{field}: nobody has said.", "{field}：没有说明。").fill(field=field.label)
