"""Secrets are found in any text and named by kind and line, never by value; what only looks like one passes."""

from __future__ import annotations

import base64
import json
import random
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scanner_rig import field, good_gguf, judged_files, onnx_model, safetensors, sentencepiece_model

from guideway.sealing.scanner import find_secrets
from guideway.sealing.scanner.secrets import RULES

LETTERS = string.ascii_letters + string.digits


def made(count, letters=LETTERS):
    """*count* random characters, put together here so that no scanner takes this file for a leak."""
    return "".join(random.Random(f"{count}{letters}").choices(letters, k=count))


def coded(value):
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


PEM = "-----BEGIN {} KEY-----\n" + "\n".join(made(64, LETTERS + "+/") for _ in range(3)) + "\n-----END {} KEY-----\n"
TOKEN = f"{coded({'alg': 'HS256', 'typ': 'JWT'})}.{coded({'sub': '1', 'name': 'x'})}.{made(43)}"
SECRETS = {
    "private key": [
        PEM.format("PRIVATE", "PRIVATE"),
        PEM.format("RSA PRIVATE", "RSA PRIVATE"),
        PEM.format("OPENSSH PRIVATE", "OPENSSH PRIVATE"),
        PEM.format("ENCRYPTED PRIVATE", "ENCRYPTED PRIVATE"),
        json.dumps({"private_key": PEM.format("PRIVATE", "PRIVATE")}),
    ],
    "AWS access key": ["AKIA" + made(16, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"), "ASIA" + made(16, "QWERTYUIOP234567")],
    "AWS secret key": [f"aws_secret_access_key = {made(40, LETTERS + '/+')}", f'"SecretAccessKey": "{made(40)}"'],
    "Google API key": ["AIza" + made(35)],
    "Google client secret": ["GOCSPX-" + made(28)],
    "Google access token": ["ya29." + made(120)],
    "Azure storage key": [f"DefaultEndpointsProtocol=https;AccountName=a;AccountKey={made(86, LETTERS + '+/')}=="],
    "Azure client secret": [made(3) + "8Q~" + made(34)],
    "Azure shared access signature": [f"https://a.blob.core.windows.net/b?sv=2024-01-01&sig={made(43)}%3D"],
    "GitHub token": [prefix + made(36) for prefix in ("ghp_", "gho_", "ghs_")] + [f"github_pat_{made(22)}_{made(59)}"],
    "GitLab token": ["glpat-" + made(20)],
    "Slack token": [f"xoxb-{made(12, string.digits)}-{made(24)}", f"xapp-1-{made(30)}"],
    "Slack webhook": [f"https://hooks.slack.com/services/T{made(9)}/B{made(9)}/{made(24)}"],
    "Hugging Face token": ["hf_" + made(34, string.ascii_letters)],
    "OpenAI key": [f"sk-proj-{made(40)}T3BlbkFJ{made(40)}", f"sk-{made(20)}T3BlbkFJ{made(20)}"],
    "API key (sk-)": ["sk-" + made(48)],
    "Anthropic key": ["sk-ant-api03-" + made(93) + "AA"],
    "Stripe key": ["sk_live_" + made(24)],
    "npm token": ["npm_" + made(36)],
    "PyPI token": ["pypi-AgEIcHlwaS5vcmc" + made(120)],
    "SendGrid key": [f"SG.{made(22)}.{made(43)}"],
    "Telegram bot token": [f"123456789:AA{made(33)}"],
    "DigitalOcean token": ["dop_v1_" + made(64, "0123456789abcdef")],
    "Guideway key": ["gw-" + made(43, LETTERS + "-_")],
    "JSON web token": [TOKEN, f"Authorization: Bearer {TOKEN}"],
    "password in a URL": ["postgresql://guideway:t7Gk-wq2@db.internal:5432/x", "redis://:x9 redis://u:hG7kq2z@h"],
    "password or key": [
        f"api_key: {made(32)}",
        f'"apiKey": "{made(32)}"',
        f"API_KEY={made(24)}",
        f"client_secret = '{made(40)}'",
        f"password: {made(20)}",
        f"OPENAI_ACCESS_TOKEN={made(40)}",
        f"auth_token := {made(30)}",
        f'{{"token": "{made(30)}"}}',
    ],
}
CASES = [(kind, text) for kind, texts in SECRETS.items() for text in texts]


def test_there_is_a_secret_of_every_kind():
    assert set(SECRETS) == {rule.name for rule in RULES}


@pytest.mark.parametrize(("kind", "text"), CASES, ids=[f"{kind} {n}" for n, (kind, _) in enumerate(CASES)])
def test_a_secret_is_found_with_its_line(kind, text):
    for before, after in (("", ""), ("first\nsecond ", " more\n"), ('a: "b"\n', "\nlast")):
        found = find_secrets(f"{before}{text}{after}")
        assert kind in {one.rule for one in found}
        assert min(one.line for one in found) == 1 + before.count("\n")
    assert find_secrets(text.encode()) == find_secrets(text)


PASSES = [
    "api_key: xxxxxxxxxxxxxxxxxxxxxxxx",
    "api_key = '<your key here>'",
    "API_KEY=your-api-key-goes-here-1234",
    "token: ...",
    "AKIAIOSFODNN7EXAMPLE",
    "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "AKIAAAAAAAAAAAAAAAAA",
    "ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "hf_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "hf_...",
    "sk-...",
    "sk-proj-...",
    "hf_model_for_causal_language_modelling_v2",
    "sk-learn-based-classifier-for-text-and-more-things-2024",
    "gw-1234",
    "-----BEGIN PRIVATE KEY-----",
    "-----BEGIN PUBLIC KEY-----\n" + made(200),
    "a -----BEGIN PRIVATE KEY----- line begins it\n",
    "postgresql://user:password@localhost/x",
    "https://example.com:8080/@user",
    "http://{user}:{password}@{host}/",
    "a://b:c@d",
    "postgres://$USER:$PASSWORD@db/x",
    "https://user:pass@host/",
    "mailto:someone@example.com",
    "git@github.com:a/b.git",
    "password: correct",
    "password = getpass.getpass()",
    "secret: os.environ['SECRET']",
    "token: <|endoftext|>",
    "passwords: 12",
    "eyJhbGciOi.not.a.token",
    "eyJ" + made(30) + ".eyJ" + made(30) + "." + made(40),
    "tokenizer_class: PreTrainedTokenizerFast",
    "sha256:" + made(64, "0123456789abcdef"),
    '"digest": "sha256:' + made(64, "0123456789abcdef") + '"',
    "max_tokens: 4096",
    "commit " + made(40, "0123456789abcdef"),
    "123e4567-e89b-12d3-a456-426614174000",
    "data:image/png;base64," + made(200, LETTERS + "+/"),
    "api_key: ${API_KEY}",
    "api_key: {{ api_key }}",
    "api_key: aaaaaaaaaaaaaaaaaaaaaaaa",
    "secret_key: change-me-please-now-1",
    '"eos_token": "<|im_end|>", "bos_token": "<s>"',
    "token = torch.tensor([1, 2, 3])",
    "xoxb-your-token",
    "token: 1234567890123456789",
    "the secret: it is the quiet-hours-of-the-day",
    "client_secret_expires_at: 1700000000",
    "sig=abc",
    "SG.x.y",
    '"access_token": "1234567890abcdef1234567890abcdef"',
    "github_pat_11AAAAAAA",
    "AccountKey=<key>",
    "password: MyExamplePassword123456",
]


@pytest.mark.parametrize("text", PASSES)
def test_what_only_looks_like_a_secret_passes(text):
    assert find_secrets(text) == []


KEY = "ghp_" + made(36)
PLACES = {
    "config.json": json.dumps({"a": KEY}),
    "rows.jsonl": json.dumps({"a": 1}) + "\n" + json.dumps({"a": KEY}) + "\n",
    "README.md": f"# A model\n\nUse {KEY}\n",
    ".env": f"KEY={KEY}\n",
    "x.yaml": f"key: {KEY}\n",
    "chat_template.jinja": "{% if x %}" + KEY + "{% endif %}",
    "model.safetensors": safetensors({"__metadata__": {"run": KEY}}),
    "model.gguf": good_gguf(general__url=KEY),
    "model.onnx": onnx_model(model=field(14, field(1, "run") + field(2, KEY))),
    "doc.onnx": onnx_model(model=field(6, f"made with {KEY}")),
    "model.xml": f'<?xml version="1.0"?><net><rt_info run="{KEY}"/></net>',
    "tokenizer.model": sentencepiece_model() + field(2, field(2, KEY)),
    "unknown.bin": b"\0\xff\0" + KEY.encode() + b"\0",
}


@pytest.mark.parametrize("name", PLACES)
def test_a_secret_is_found_in_every_format_and_never_shown(name, tmp_path):
    scan = judged_files(tmp_path, {name: PLACES[name]})
    assert [one.what.partition(" on line")[0] for one in scan.secrets] == ["holds a GitHub token"]
    assert KEY not in repr(scan) and KEY[4:12] not in repr(scan)
    assert all(one.rule != "secret" for one in scan.unsafe)


def test_a_file_full_of_secrets_is_told_shortly(tmp_path):
    tokens = "\n".join("ghp_" + "".join(random.Random(n).choices(LETTERS, k=36)) for n in range(50))
    scan = judged_files(tmp_path, {"leak.txt": tokens})
    assert len(scan.secrets) == 21 and "holds 30 secrets more" in [one.what for one in scan.secrets]


@given(st.text())
def test_any_text_is_searched_without_an_error(text):
    find_secrets(text)


@given(st.text(st.sampled_from(LETTERS + " \n.,:="), max_size=300))
def test_lines_are_counted_as_editors_count_them(text):
    found = find_secrets(f"{text}\n{KEY}\n")
    assert found[-1] == ("GitHub token", text.count("\n") + 2)
