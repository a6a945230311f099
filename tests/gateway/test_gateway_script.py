"""In which script a text is written."""

from __future__ import annotations

import pytest

from guideway.gateway.script import LOOKED_AT, in_other_script, script_of

TEXTS = {
    "Tell me how the sea was made.": "latin",
    "Ça va très bien, merci à tous les élèves.": "latin",
    "Việt Nam là một quốc gia ở Đông Nam Á": "latin",
    "Καλημέρα, τι κάνετε σήμερα;": "greek",
    "Привет, как твои дела сегодня?": "cyrillic",
    "שלום, מה שלומך היום?": "hebrew",
    "مرحبا، كيف حالك اليوم؟": "arabic",
    "नमस्ते, आज आप कैसे हैं?": "indic",
    "สวัสดีครับ วันนี้เป็นอย่างไรบ้าง": "thai",
    "გამარჯობა, როგორ ხარ დღეს?": "georgian",
    "안녕하세요, 오늘 날씨가 어때요?": "hangul",
    "今日はとても良い天気ですね。散歩に行きましょう。": "kana",
    "今天天气很好，我们去散步吧。": "han",
    "請問這個問題怎麼解決？": "han",
    "请用「引用」和『书名』、顿号、句号。各写一句。": "han",
    "请帮我安装 Python，谢谢你的帮助。": "han",
    "Write the word 海 in large letters, please.": "latin",
    "```python\nprint('x' * 99)\nimport os, sys, json\n``` 这段代码是什么意思？": "han",
}


@pytest.mark.parametrize(("text", "script"), TEXTS.items())
def test_the_script_of_a_text(text, script):
    assert script_of(text) == script


@pytest.mark.parametrize(
    "text",
    ["", "ok", "好的", "42 + 1 = 43; 7 * 6 = 42 (!)", "😀" * 50, "。、，！" * 20, "```" + "code " * 90, "\ud800" * 30,
     "hello there 你好吗 привет друг"],
)  # fmt: skip
def test_what_is_short_mixed_or_without_letters_has_none(text):
    assert script_of(text) is None


def test_only_the_beginning_is_looked_at():
    assert script_of("a" * LOOKED_AT + "好" * 9999) == "latin"


@pytest.mark.parametrize(
    ("prompt", "answer", "other"),
    [
        ("今天天气怎么样？", "今天是晴天，最高二十度。", False),
        ("今天天气怎么样？", "It is sunny today, twenty degrees.", True),
        ("How is the weather today?", "It is sunny today.", False),
        ("How is the weather today?", "Comment allez-vous aujourd'hui ?", False),
        ("How is the weather today?", "Yes.", None),
        ("?", "It is sunny today.", None),
    ],
)
def test_an_answer_in_another_script_than_its_prompt(prompt, answer, other):
    assert in_other_script(prompt, answer) is other
