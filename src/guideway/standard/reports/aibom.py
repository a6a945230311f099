"""The AI bill of materials: validated CycloneDX for machines, a summary of it for people, and how complete it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from guideway.core.errors import GuidewayError, Unavailable
from guideway.standard.reports import fields, parts
from guideway.standard.reports.bom import bill
from guideway.standard.reports.bom_fields import FIELDS, bom_completeness
from guideway.standard.reports.drawn import Drawn
from guideway.standard.reports.fields import facts
from guideway.standard.reports.figures import evaluation
from guideway.standard.reports.page import Heading, Page, Paragraph, Table
from guideway.standard.reports.words import Cell, Words, code, missing

Bill = Mapping[str, Any]


def cyclonedx(drawn: Drawn) -> str:
    """The bill as CycloneDX 1.6 JSON, valid by the strict schema.

    Raises:
        Unavailable: the library that validates is not installed.
        GuidewayError: the bill is not valid, which is a fault of this program.
    """
    try:
        from cyclonedx.exception import MissingOptionalDependencyException
        from cyclonedx.schema import SchemaVersion
        from cyclonedx.spdx import is_supported_id
        from cyclonedx.validation.json import JsonStrictValidator
    except ImportError:
        raise _no_library() from None
    text = json.dumps(bill(drawn, is_supported_id), indent=1, ensure_ascii=False) + "\n"
    try:
        fault = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    except MissingOptionalDependencyException:
        raise _no_library() from None
    if fault is not None:
        raise GuidewayError(f"the bill of materials is not valid CycloneDX 1.6: {str(fault.data).splitlines()[0]}")
    return text


def _no_library() -> Unavailable:
    return Unavailable("the bill of materials needs cyclonedx-python-lib", try_this="pip install 'guideway[bom]'")


def page(drawn: Drawn) -> Page:
    """What the bill holds, for people."""
    found = bill(drawn, lambda licence: False)
    share, empty = bom_completeness(drawn.dossier)
    said = Words(
        "The bill for machines is CycloneDX 1.6: `guideway report aibom --format json`. It is {share} complete, by a"
        " list of {n} weighted fields.",
        "供机器读取的物料清单为 CycloneDX 1.6：`guideway report aibom --format json`。"
        "按 {n} 个加权字段计，完整度为 {share}。",
    )
    return Page(
        title=Words("{name}: bill of materials", "{name}：物料清单").fill(name=drawn.dossier.name),
        facts=(*parts.header(drawn), (Words("Serial number", "序列号"), code(found["serialNumber"]))),
        blocks=(
            Paragraph(said.fill(share=f"{share:.0%}", n=len(FIELDS))),
            Paragraph(_empty(empty)),
            Heading(2, Words("Model", "模型")),
            facts(MODEL, drawn),
            *evaluation(drawn),
            *(block for kind in KINDS for block in (Heading(2, kind.title), _listed(found, kind))),
        ),
    )


MODEL = (fields.INTENDED_USE, fields.LIMITS, fields.CONTACT, fields.LICENCE, fields.BASE, *fields.SHAPE[:2])
NAME, VERSION, LICENCE = Words("Name", "名称"), Words("Version", "版本"), Words("Licence", "许可证")
SHA, PURL = Words("SHA-256", "SHA-256"), Words("Package URL", "包 URL（purl）")


class Kind(NamedTuple):
    """What the summary lists under one heading: types of components, and columns."""

    title: Words
    types: tuple[str, ...]
    columns: tuple[Words, ...]


KINDS = (
    Kind(Words("Files", "文件"), ("file",), (NAME, SHA)),
    Kind(Words("Data", "数据"), ("data",), (NAME, LICENCE, SHA)),
    Kind(Words("Software", "软件"), ("library", "platform"), (NAME, VERSION, PURL)),
)


def _empty(names: tuple[str, ...]) -> Cell:
    if not names:
        return Words("No field is empty.", "没有空缺字段。")
    return (Words("Empty fields: ", "空缺字段：", style="missing"), code(", ".join(names)))


def _listed(found: Bill, kind: Kind) -> Table | Paragraph:
    listed = [one for one in found["components"] if one["type"] in kind.types]
    if not listed:
        return Paragraph(missing(fields.BUILD))
    return Table(kind.columns, tuple(tuple(_cell(one, column) for column in kind.columns) for one in listed))


def _cell(one: Bill, column: Words) -> Cell:
    licences = [entry["license"].get("name", "") for entry in one.get("licenses", ())]
    digests = [entry["content"] for entry in one.get("hashes", ())]
    values = {NAME.en: [one["name"]], VERSION.en: [one.get("version", "")], LICENCE.en: licences}
    values |= {SHA.en: digests, PURL.en: [one.get("purl", "")]}
    text = ", ".join(values[column.en])
    return code(text) if text else missing()
