"""Measure the spine: what a person waits for, and what a fleet at rest costs. `make bench` calls it."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import replicas
from benchmarks.record import Figure, median_seconds, quietly, write
from guideway.kit.process import pss_bytes

EXAMPLE = Path(__file__).parents[1] / "examples" / "pydoc-assistant"
GUIDEWAY = [sys.executable, "-P", "-m", "guideway.cli"]


def main() -> None:
    """Build the example in a folder of its own, measure, stop it, write the results."""
    with tempfile.TemporaryDirectory(prefix="guideway-bench-") as name:
        folder = Path(name) / "pydoc-assistant"
        os.environ["GATEWAY_PORT"] = "0"
        try:
            figures = [*first_token(folder), *waiting(folder), *at_rest(folder), *back(folder)]
        finally:
            if (folder / ".guideway").exists():
                quietly([*GUIDEWAY, "down"], folder)
    figures += replicas.measure()
    print()
    write("spine", figures)


def first_token(folder: Path) -> list[Figure]:
    """From an empty folder to the first streamed token of a model that was trained, judged and sealed on the way."""
    began = time.perf_counter()
    folder.mkdir()
    for source in EXAMPLE.iterdir():
        if source.is_file():
            shutil.copy(source, folder)
    quietly([sys.executable, "make_data.py"], folder)
    print("building the example: training and all, two to three minutes", flush=True)
    quietly([*GUIDEWAY, "up"], folder)
    key = json.loads(quietly([*GUIDEWAY, "keys", "new", "--json"], folder))["key"]
    _stream_one_token(folder, key)
    seconds = time.perf_counter() - began
    note = "downloads left out"
    return [Figure("empty folder to first streamed token", seconds, "s", must=300, aim=180, note=note)]


def waiting(folder: Path) -> list[Figure]:
    """What a person waits for at the prompt."""
    empty = median_seconds(lambda: quietly([sys.executable, "-c", "pass"], folder), 9)
    beside = f"an empty interpreter takes {empty:.3f} s"
    figures = []
    for verb, must, aim in (("--help", 0.3, 0.15), ("plan", 0.5, 0.3), ("up", 2.0, 1.0)):
        seconds = median_seconds(lambda verb=verb: quietly([*GUIDEWAY, verb], folder))  # type: ignore[misc]
        name = "unchanged guideway up" if verb == "up" else f"guideway {verb}"
        figures.append(Figure(name, seconds, "s", must=must, aim=aim, note=beside))
    return figures


def at_rest(folder: Path) -> list[Figure]:
    """Memory of controller, gateway and two replicas of the example when nobody calls (proportional set size)."""
    home = folder / ".guideway"
    found: dict[int, int] = {}
    for pid in (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()):
        try:
            line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if str(home) in line and pid != os.getpid():
            found[pid] = pss_bytes(pid) or 0
    note = f"{len(found)} processes: controller, gateway parent and worker, fork server, two replicas"
    return [Figure("memory of the fleet at rest", sum(found.values()) / 1e6, "MB", must=600, aim=300, note=note)]


def back(folder: Path) -> list[Figure]:
    """Roll back to the release before, which is warm."""
    spec = folder / "guideway.yaml"
    spec.write_text(spec.read_text().replace("intended_use: An example.", "intended_use: A second release."))
    quietly([*GUIDEWAY, "up"], folder)
    seconds = median_seconds(lambda: quietly([*GUIDEWAY, "rollback"], folder), 3)
    return [Figure("guideway rollback", seconds, "s", must=1.0, aim=0.5, note="previous release warm")]


def _stream_one_token(folder: Path, key: str) -> None:
    from openai import OpenAI

    state = json.loads(quietly([*GUIDEWAY, "status", "--json"], folder))["state"]
    client = OpenAI(base_url=f"http://{state['gateway']['host']}:{state['port']}/v1", api_key=key)
    messages: Any = [{"role": "user", "content": "which module has `heappush`?"}]
    for chunk in client.chat.completions.create(model=state["model"], messages=messages, stream=True):
        if chunk.choices and chunk.choices[0].delta.content:
            return
    raise SystemExit("no token came")


if __name__ == "__main__":
    main()
