"""Other gateways, installed for the benchmark alone, each in a virtual environment of its own below ``.bench``."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from benchmarks.record import quietly
from benchmarks.traffic.sides import Side, free_port, plain_proxy

ROOT = Path(__file__).parents[2] / ".bench"
MASTER_KEY = "sk-bench-0123456789"


class Peer(NamedTuple):
    """Packages from PyPI, *name* the first, what we must reach against it, and how it is started.

    ``start`` is given the bin folder, the port of the model server, and a folder.
    """

    name: str
    package: str
    must: float
    aim: float
    start: Callable[[Path, int, Path], Side]


def install(peer: Peer) -> str:
    """Install *peer* unless it is there; its version, or why there is none (then it begins with "not run")."""
    home = ROOT / peer.name
    python = home / "bin" / "python"
    if not python.exists():
        print(f"installing {peer.package} into {home}", flush=True)
        quietly([sys.executable, "-m", "venv", str(home)], ROOT.parent)
    asked = [str(python), "-c", f"import importlib.metadata as m; print(m.version({peer.name!r}))"]
    found = subprocess.run(asked, capture_output=True, text=True, check=False)
    if found.returncode == 0:
        return found.stdout.strip()
    argv = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *peer.package.split()]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        words = done.stderr.strip().splitlines() or ["pip said nothing"]
        return f"not run: cannot be installed ({words[-1][:200]})"
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()


def started(peer: Peer, upstream: int, folder: Path) -> Side | str:
    """*peer*, answering, or why it does not."""
    side = peer.start(ROOT / peer.name / "bin", upstream, folder)
    try:
        return side.up()
    except RuntimeError as error:
        side.stop()
        return f"not run: {error}"


def _vllm(programs: Path, upstream: int, folder: Path) -> Side:
    return Side("vllm-router", [str(programs / "vllm-router"), *_router(upstream, port := free_port())], port, folder)


def _sglang(programs: Path, upstream: int, folder: Path) -> Side:
    argv = [str(programs / "python"), "-m", "sglang_router.launch_router", *_router(upstream, port := free_port())]
    return Side("sglang-router", argv, port, folder)


def _router(upstream: int, port: int) -> list[str]:
    """The two share their ancestor, and so their options; ``round_robin`` is the cheapest policy."""
    return [
        *("--worker-urls", f"http://127.0.0.1:{upstream}", "--host", "127.0.0.1", "--port", str(port)),
        *("--policy", "round_robin", "--prometheus-port", str(free_port()), "--log-level", "error"),
    ]


def _litellm(programs: Path, upstream: int, folder: Path) -> Side:
    """One master key, no database, its default of one worker."""
    config = folder / "litellm.yaml"
    config.write_text(
        "model_list:\n  - model_name: poet\n    litellm_params:\n      model: openai/poet\n"
        f"      api_base: http://127.0.0.1:{upstream}/v1\n      api_key: none\n"
        f"general_settings:\n  master_key: {MASTER_KEY}\n"
        "litellm_settings:\n  telemetry: false\n"
    )
    port = free_port()
    argv = [str(programs / "litellm"), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    side = Side("LiteLLM", argv, port, folder, {"LITELLM_LOCAL_MODEL_COST_MAP": "True"})
    side.key = MASTER_KEY
    return side


def _plain(programs: Path, upstream: int, folder: Path) -> Side:
    return plain_proxy(programs / "python", upstream, folder)


PLAIN = Peer("aiohttp", "aiohttp starlette uvicorn uvloop httptools", 3.5, 4.5, _plain)
"""What the plain proxy is made of; it is always run."""
PEERS = (
    Peer("vllm-router", "vllm-router", 2.3, 3.0, _vllm),
    Peer("sglang-router", "sglang-router", 2.8, 3.5, _sglang),
    Peer("litellm", "litellm[proxy]", 250.0, 350.0, _litellm),
)
