"""What others wrote is text and nothing else, whatever they wrote, wherever a report shows it."""

from __future__ import annotations

import html.parser
import re

import msgspec
import pytest
import yaml
from markdown_it import MarkdownIt
from report_rig import drawn, fact, plain_spec, rich, with_policy

from guideway.core.dossier import Dossier, Waiver
from guideway.core.evidence import Interval
from guideway.standard.reports import REPORTS, render
from guideway.standard.reports.clean import LONGEST, clean
from guideway.standard.reports.markdown import escape

ATTACKS = (
    "<script>alert(1)</script>",
    "![x](http://evil.example/p.png)",
    "[click](javascript:alert(1))",
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "<!-- --><style>*{display:none}</style>",
    "a | b | c\n|---|\n| d |",
    "`</code><script>x</script>`",
    "**bold** _under_ ~~gone~~ # head",
    "\x1b[31mred\x1b[0m \x07\x00",
    "safe\u202etxt.exe\u2066",
    "line\r\n\r\n# heading\n\n- item\n\n1. one",
    "---\nlicense: mit\n---",
    "```\nfence\n```",
    "http://evil.example/ www.evil.example mailto:a@evil.example",
    "<https://evil.example>",
    "[x]: http://evil.example 'ref'",
    "&lt;script&gt; &#60;b&#62;",
    "{0} {name} {{x}} %s ${HOME}",
    "$$x^2$$ \\(y\\)",
)


AROUND = Interval(0.4, 0.6, 0.95, "wilson")


class Tags(html.parser.HTMLParser):
    """Every tag, and every address that a page would load or offer."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.targets: set[str] = set()
        self.handlers: set[str] = set()

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.targets |= {value for name, value in attributes if name in ("href", "src")}
        self.handlers |= {name for name, _ in attributes if name.startswith("on")}


def attacked(text: str) -> Dossier:
    """The rich dossier with *text* wherever somebody outside may have written."""
    source = {"path": f"data/{text}", "licence": text, "origin": text, "datasheet": {"people": text, "contents": text}}
    splits = {"phrasings": {"share": 0.1}}
    dossier = rich(spec=plain_spec(data={"sources": [source], "splits": splits}))
    dossier = with_policy(dossier, intended_use=text, limits=text, oversight=text, contact=text, licence=text)
    waiver = Waiver(dossier.release.digest, "librarian", "prod", ("OPS-05",), text, text, 0.0, 2e9)
    papers = {**dossier.documents, "environment.lock": f"{text}\npython==3.11.9\n"}
    papers["serve.json"] = {"engine": text}
    papers["data/manifest.json"] = {**papers["data/manifest.json"], "sources": [source]}
    papers["model/config.json"] = {"model_type": text, "architectures": [text]}
    proofs = (*dossier.proofs, fact("exact_match", 0.5, "compress", text, slice=text, interval=AROUND))
    return msgspec.structs.replace(dossier, documents=papers, waivers=(waiver,), proofs=proofs)


@pytest.mark.parametrize("kind", REPORTS)
@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_that_others_wrote_acts_in_html(kind, attack):
    text = render(kind, drawn(attacked(attack)), language="en", form="html")
    seen = Tags()
    seen.feed(text)
    assert not seen.tags & {"script", "img", "iframe", "object", "embed", "link", "base", "form"}
    assert not seen.handlers
    assert all(target.startswith("#part-") for target in seen.targets)
    assert text.count("<style>") == text.count("<title>") == text.count("<main>") == 1
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]", text)


@pytest.mark.parametrize("kind", REPORTS)
@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_that_others_wrote_acts_in_markdown(kind, attack):
    text = render(kind, drawn(attacked(attack)), language="en", form="md")
    body = re.sub(r"(?s)\A---\n.*?\n---\n", "", text)
    shown = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(body)
    seen = Tags()
    seen.feed(shown)
    assert not seen.tags & {"script", "img", "svg", "style", "a", "s", "iframe", "blockquote", "ol", "hr"}
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]", text)
    clean_text = render(kind, drawn(attacked("plain")), language="en", form="md")
    assert body.count("\n#") == re.sub(r"(?s)\A---\n.*?\n---\n", "", clean_text).count("\n#")


@pytest.mark.parametrize("attack", ATTACKS)
def test_text_in_markdown_reads_as_it_was_written(attack):
    found = MarkdownIt("commonmark").enable("table").parse(escape(attack))
    assert [token.type for token in found] == ["paragraph_open", "inline", "paragraph_close"]
    assert "".join(child.content for child in found[1].children) == clean(attack).strip()
    assert {child.type for child in found[1].children} <= {"text", "text_special"}


@pytest.mark.parametrize(
    "text", ["http://evil.example/", "see HTTPS://evil.example", "www.evil.example", "mailto:a@evil.example"]
)
def test_an_address_becomes_no_link_where_readers_link_bare_ones(text):
    assert not re.search(r"(?i)[a-z]://|\bwww\.|mailto:", escape(text))


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_front_matter_stays_one_document(attack):
    text = render("card", drawn(attacked(attack)), language="en", form="md")
    lines = text.splitlines()
    end = lines.index("---", 1)
    found = yaml.safe_load("\n".join(lines[1:end]))
    assert found["license"] == "other"
    assert found["pipeline_tag"] == "text-generation"


@pytest.mark.parametrize("text", ["", " ", "a\x00b", "\ud800x", "x" * (LONGEST + 10), "中文，标点。"])
def test_cleaning_keeps_one_printable_line_and_cuts_what_is_too_long(text):
    found = clean(text)
    assert "\n" not in found
    assert len(found) <= LONGEST + 4
    found.encode("utf-8")
