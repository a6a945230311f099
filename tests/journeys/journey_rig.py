"""A project as a person sees it: a folder, the command line, the openai client."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from openai import OpenAI

from shell_rig import call

T = TypeVar("T")


class Service:
    """A folder with a spec, and ``guideway`` called in it as a person would."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.key, self.url = folder, "", ""
        plain = {key: value for key, value in os.environ.items() if not key.startswith("GUIDEWAY")}
        self.environment = plain | {"GATEWAY_PORT": "0", "PROD_PORT": "0"}

    def __call__(self, *argv: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = call(argv, self.folder, self.environment, 240.0)
        assert done.returncode == code, f"{argv}: {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done

    def up(self, *argv: str) -> list[dict[str, Any]]:
        """The events of ``guideway up``; its last words set URL and key."""
        said = self("up", *argv, "--json").stdout
        events, _, tail = said.partition("\n{\n")
        found = json.loads("{" + tail)
        self.url, self.key = found["url"], found["key"] or self.key
        return [json.loads(line) for line in events.splitlines()]

    def json(self, *argv: str) -> Any:
        return json.loads(self(*argv, "--json").stdout)

    def status(self) -> dict[str, Any]:
        return self.json("status")  # type: ignore[no-any-return]

    def client(self, key: str | None = None) -> OpenAI:
        return OpenAI(base_url=self.url, api_key=key or self.key, max_retries=0, timeout=30.0)

    def ask(self, question: str = "What comes after Monday?", **more: Any) -> Any:
        messages: Any = [{"role": "user", "content": question}]
        return self.client().chat.completions.create(model=self.folder.name, messages=messages, **more)

    def release_that_answers(self) -> str:
        messages: Any = [{"role": "user", "content": "hello"}]
        raw = self.client().chat.completions.with_raw_response
        answer = raw.create(model=self.folder.name, messages=messages, max_tokens=1)
        return str(answer.headers["x-guideway-release"])

    @property
    def blobs(self) -> Path:
        return self.folder / ".guideway" / "oci" / "blobs" / "sha256"

    def stable(self) -> str:
        """The digest of the release that serves."""
        return str(next(one for one in self.json("releases") if one["stable"])["digest"])

    def layers(self) -> dict[str, Any]:
        """The layers of the release that serves, by the path of their file."""
        manifest = json.loads((self.blobs / self.stable().removeprefix("sha256:")).read_text())
        return {layer["annotations"]["org.cncf.model.filepath"]: layer for layer in manifest["layers"]}

    def edit(self, old: str, new: str) -> None:
        path = self.folder / "guideway.yaml"
        text = path.read_text(encoding="utf-8")
        assert old in text, old
        path.write_text(text.replace(old, new, 1), encoding="utf-8")

    def processes(self) -> list[str]:
        """Command lines of everything that still runs for this project, the warm fork server left out."""
        found = []
        for path in Path("/proc").iterdir():
            if path.name.isdigit():
                try:
                    line = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                except OSError:
                    continue
                if str(self.folder) in line:
                    found.append(f"{path.name} {line}")
        return found


def eventually(condition: Callable[[], T], seconds: float = 30.0) -> T:
    """The first truthy value of *condition*."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
    return value
