"""The AI bill of materials: validated CycloneDX for machines, a summary of it for people, and how complete it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from guideway.core.errors import GuidewayError, Unavailable
from guideway.standard.reports import parts
from guideway.standard.reports.bom import bill
from guideway.standard.reports.bom_fields import FIELDS, bom_completeness
from guideway.standard.reports.drawn import Drawn
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
            *(block for title, kinds in KINDS for block in (Heading(2, title), _listed(found, kinds))),
        ),
    )


KINDS = (
    (Words("Files", "文件"), ("file",)),
    (Words("Data", "数据"), ("data",)),
    (Words("Software", "软件"), ("library", "platform")),
)


def _empty(names: tuple[str, ...]) -> Cell:
    if not names:
        return Words("No field is empty.", "没有空缺字段。")
    return (Words("Empty fields: ", "空缺字段：", style="missing"), code(", ".join(names)))


def _listed(found: Bill, kinds: tuple[str, ...]) -> Table | Paragraph:
    listed = [one for one in found["components"] if one["type"] in kinds]
    if not listed:
        return Paragraph(missing(Words("`guideway build` leaves it.", "`guideway build` 会留下证据。")))
    columns = (Words("Name", "名称"), Words("Version", "版本"), Words("Licence", "许可证"), Words("SHA-256", "SHA-256"))
    return Table(columns, tuple(_row(one) for one in listed))


def _row(one: Bill) -> tuple[Cell, ...]:
    licences = [entry["license"].get("name", "") for entry in one.get("licenses", ())]
    digest = next((entry["content"] for entry in one.get("hashes", ())), "")
    return (code(one["name"]), one.get("version", "–"), ", ".join(licences) or "–", code(digest) if digest else "–")
