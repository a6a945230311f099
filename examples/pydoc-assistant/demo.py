"""The whole way in one run: build, serve, ask, refuse, detect, roll back. `make demo` calls it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from openai import OpenAI

from guideway.store import steps
from guideway.store.database import Database
from guideway.store.home import Home

HERE = Path(__file__).parent
FOLDER = Path(os.environ.get("GUIDEWAY_DEMO", ".demo")).absolute() / "pydoc-assistant"
QUESTIONS = 3
TIMES: list[tuple[str, float, str]] = []


def main() -> int:
    """Run every step; the exit code is 0 when each did what it should."""
    began = time.monotonic()
    say("1", "The data: questions about the documentation inside this Python", "数据：来自本机 Python 自带的文档")
    prepare()
    say("2", "guideway up: train, judge, seal, serve", "训练、评估、封装、上线")
    with timed("guideway up (first release)"):
        guideway("up")
    key = json.loads(guideway("keys", "new", "--label", "demo", "--json", quiet=True).stdout)["key"]
    url, model = address()
    say("3", "Three questions, answered live by the openai client", "用 openai 客户端流式提问")
    first = ask(OpenAI(base_url=url, api_key=key), model)
    TIMES.append(("clean folder to first streamed token", first - began, ""))
    say("4", "A second release: only what changed runs again", "第二个版本：只重跑改变的部分")
    change("intended_use: An example.", "intended_use: A second release of the example.")
    with timed("guideway up (second release)"):
        guideway("up")
    with timed("guideway up (nothing changed)"):
        guideway("up", quiet=True)
    say("5", "A broken prompt template is refused by the gate", "错误的提示模板被拒绝")
    refuse_broken_template()
    say("6", "One flipped bit in a copy of the release is found", "副本中翻转一位即被发现")
    find_flipped_bit()
    say("7", "What is proven, what is not, and two reports for people", "已证明与未证明的条款，以及两份报告")
    judge_and_report()
    say("8", "Rollback to the release before", "回滚到上一个版本")
    with timed("guideway rollback"):
        guideway("rollback")
    summary(url, model, key)
    return 0


def prepare() -> None:
    """A fresh copy of the example; an older demo is stopped first."""
    if (FOLDER / ".guideway").exists():
        guideway("down", quiet=True, expect=None)
        shutil.rmtree(FOLDER)
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in ("guideway.yaml", "make_data.py", "broken-template.jinja"):
        shutil.copy(HERE / name, FOLDER)
    with timed("make_data.py"):
        subprocess.run([sys.executable, "make_data.py"], cwd=FOLDER, check=True)


def guideway(*argv: str, quiet: bool = False, expect: int | None = 0) -> subprocess.CompletedProcess[str]:
    """Run the command line in the demo's folder, as a person would."""
    if not quiet:
        print(f"$ guideway {' '.join(argv)}", flush=True)
    command = [sys.executable, "-P", "-m", "guideway.cli", *argv]
    done = subprocess.run(command, check=False, cwd=FOLDER, text=True, capture_output=quiet or expect not in (0, None))
    if expect not in (0, None):
        sys.stdout.write(done.stderr)
    if expect is not None and done.returncode != expect:
        sys.exit(f"demo: `guideway {' '.join(argv)}` ended with {done.returncode}, not {expect}\n{done.stderr or ''}")
    return done


def address() -> tuple[str, str]:
    """URL and model name, as `guideway status` tells them."""
    state = json.loads(guideway("status", "--json", quiet=True).stdout)["state"]
    return f"http://{state['gateway']['host']}:{state['port']}/v1", state["model"]


def ask(client: OpenAI, model: str) -> float:
    """Ask questions that were held out of training; when the first token came, by the monotonic clock."""
    first = 0.0
    for question, expected in held_out():
        print(f"  ? {question}\n  > ", end="", flush=True)
        messages: Any = [{"role": "user", "content": question}]
        answer = ""
        for chunk in client.chat.completions.create(model=model, messages=messages, stream=True):
            piece = chunk.choices[0].delta.content or "" if chunk.choices else ""
            first = first or (time.monotonic() if piece else 0.0)
            answer += piece
            print(piece, end="", flush=True)
        right = "right" if answer.strip() == expected else f"wrong, it is {expected}"
        print(f"   ({right})")
    return first


def held_out() -> Iterator[tuple[str, str]]:
    """A few questions of the split `unseen-phrasings`, spread over it, with their answers."""
    rows = [json.loads(line) for line in find_split("unseen-phrasings").read_text(encoding="utf-8").splitlines()]
    for index in range(QUESTIONS):
        question, answer = rows[(index * 2 + 1) * len(rows) // (2 * QUESTIONS)]["messages"]
        yield question["content"], answer["content"]


def find_split(name: str) -> Path:
    """The file of a split in the store: the data stage's result names it."""
    home = Home.of(FOLDER)
    with Database(home.database) as database:
        result = steps.latest(database, "data")
    assert result
    digest = next(file.digest for file in result.artifact.files if file.path == f"{name}.jsonl")
    return home.oci / "blobs" / "sha256" / digest.removeprefix("sha256:")


def change(old: str, new: str) -> None:
    """Edit the spec in the demo's folder."""
    path = FOLDER / "guideway.yaml"
    text = path.read_text(encoding="utf-8")
    assert old in text, old
    path.write_text(text.replace(old, new), encoding="utf-8")


def refuse_broken_template() -> None:
    """Build with a template that forgets the roles: exact match collapses, so nothing is sealed."""
    good = (FOLDER / "guideway.yaml").read_text(encoding="utf-8")
    change("# prompt: {template: broken-template.jinja}", "prompt: {template: broken-template.jinja}")
    with timed("refusal of the broken template", "exit code 3"):
        guideway("build", expect=3)
    (FOLDER / "guideway.yaml").write_text(good, encoding="utf-8")


def find_flipped_bit() -> None:
    """Copy the store, flip one bit in the middle of its largest blob, and verify the copy."""
    copy = FOLDER / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(FOLDER / ".guideway" / "oci", copy)
    state = json.loads(guideway("releases", "--json", quiet=True).stdout)
    release = next(one["digest"] for one in state if one["stable"]).removeprefix("sha256:")
    manifest = json.loads((copy / "blobs" / "sha256" / release).read_text())
    largest = max(manifest["layers"], key=lambda layer: layer["size"])["digest"].removeprefix("sha256:")
    blob = copy / "blobs" / "sha256" / largest
    blob.chmod(0o644)
    data = bytearray(blob.read_bytes())
    data[len(data) // 2] ^= 1
    blob.write_bytes(data)
    with timed("the flipped bit found", "exit code 4"):
        guideway("verify", "--layout", "copy", expect=4)
    shutil.rmtree(copy)


def judge_and_report() -> None:
    """Judge the release by the whole Standard, show the last line, and draw a card and a bill of materials."""
    with timed("guideway assess"):
        judged = guideway("assess", quiet=True)
    print(f"$ guideway assess\n  ...\n{judged.stdout.rstrip().splitlines()[-1]}")
    guideway("report", "card", "-o", "card.html")
    guideway("report", "aibom", "-o", "aibom.json")


@contextmanager
def timed(what: str, note: str = "") -> Iterator[None]:
    """Remember how long a step took."""
    began = time.monotonic()
    yield
    TIMES.append((what, time.monotonic() - began, note))


def say(number: str, english: str, chinese: str) -> None:
    """A heading in both languages."""
    print(f"\n\033[1m{number}. {english}\033[0m  {chinese}", flush=True)


def summary(url: str, model: str, key: str) -> None:
    """Times, and how to go on."""
    say("9", "Times", "用时")
    for what, seconds, note in TIMES:
        print(f"  {what:<40} {seconds:8.2f} s  {note}")
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "which module has `heappush`?"}]})
    print(f"\n  URL   {url}\n  key   {key}\n\n  curl {url}/chat/completions -H 'Authorization: Bearer {key}' \\")
    print(f"    -H 'Content-Type: application/json' -d '{body}'\n")
    print(f"  look: cd {FOLDER} && guideway status\n  stop: make demo-down")


if __name__ == "__main__":
    sys.exit(main())
