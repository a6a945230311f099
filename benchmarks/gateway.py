"""Measure the gateway against HAProxy, plain proxies and other gateways. `make bench-gateway` calls it.

Ratios are medians over rounds in which every side has its turn on the same model server. `--peers` installs other
gateways below `.bench`; `--million` sends a million requests through the worker whose memory is looked at.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.record import RESULTS, Figure, quietly, show, write
from benchmarks.traffic import loads, peers, rows, sides
from benchmarks.traffic.machine import Quiet
from benchmarks.traffic.rows import DIRECT, HAPROXY, MASKED, OURS, PLAIN, Stand
from benchmarks.traffic.sides import UNMASKED, Guideway, Side
from guideway.core.spec.gateway import Masking

PARTS = ("throughput", "latency", "streams", "memory", "overload", "masking")
SLOTS, SERVICE_US = 16, 20_000
"""The model server of the overload: 16 at once, 20 ms each."""


def main() -> None:
    """Measure everything in a temporary folder, and write the results; a part is only printed."""
    asked = _asked()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as Ctrl-C does: what was started is stopped
    began = time.monotonic()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gw-bench-")))
        stand = Stand(loads.build(folder), asked.seconds, asked.rounds, Quiet())
        stand.quiet.look()
        figures = measure(stand, folder, stack, asked)
        stand.quiet.look()
    if "masking" in asked.only:
        figures += masking()
    figures.append(_machine(stand, time.monotonic() - began))
    print()
    if set(asked.only) == set(PARTS):
        write("gateway", figures)
    else:
        show(figures)


def measure(stand: Stand, folder: Path, stack: ExitStack, asked: argparse.Namespace) -> list[Figure]:
    """All rows but those of masking alone."""
    upstream = _kept(stack, sides.upstream(stand.programs / "upstream", folder))
    figures: list[Figure] = []
    if {"throughput", "latency", "streams"} & set(asked.only):
        figures += _compared(stand, folder, stack, upstream, asked)
    if "memory" in asked.only:
        _told("memory")
        fresh = _gateway(stack, Guideway("fresh gateway", upstream.port, folder, masking=UNMASKED))
        figures += rows.memory(stand, fresh, 1_000_000 if asked.million else asked.requests)
    if "overload" in asked.only:
        _told("overload")
        slow = _kept(stack, sides.upstream(stand.programs / "upstream", folder, service=SERVICE_US, slots=SLOTS))
        full = _gateway(stack, Guideway("full gateway", slow.port, folder, masking=UNMASKED, concurrent=SLOTS))
        figures += rows.overload(stand, full, SLOTS)
    return figures


def _compared(stand: Stand, folder: Path, stack: ExitStack, upstream: Side, asked: argparse.Namespace) -> list[Figure]:
    """The rows in which several sides have their turn."""
    side: dict[str, Side] = {
        DIRECT: upstream,
        HAPROXY: _kept(stack, sides.haproxy(upstream.port, folder)),
        OURS: _gateway(stack, Guideway("gateway", upstream.port, folder, masking=UNMASKED)),
        MASKED: _gateway(stack, Guideway("masking gateway", upstream.port, folder, masking=Masking())),
        PLAIN: _kept(stack, _plain(upstream.port, folder)),
    }
    through = {name: side[name] for name in (DIRECT, HAPROXY, OURS, MASKED)}
    figures: list[Figure] = []
    if "throughput" in asked.only:
        _told("throughput")
        figures += rows.throughput(stand, {name: one for name, one in side.items() if name != DIRECT})
        figures += others(stand, side[OURS], upstream.port, folder, asked.peers)
    if "latency" in asked.only:
        _told("latency at one connection")
        figures += rows.latency(stand, through)
    if "streams" in asked.only:
        _told("streams")
        figures += rows.streamed(stand, through)
    return figures


def _plain(upstream: int, folder: Path) -> Side:
    """The proxy of an afternoon, from an environment of its own."""
    version = peers.install(peers.PLAIN)
    side = peers.started(peers.PLAIN, upstream, folder) if not version.startswith("not run") else version
    if isinstance(side, str):
        raise SystemExit(f"the plain proxy is {side}")
    return side


def others(stand: Stand, ours: Side, upstream: int, folder: Path, wanted: bool) -> list[Figure]:
    """The other gateways, one after the other; a row says why where one was not run."""
    figures = []
    for peer in peers.PEERS:
        version = peers.install(peer) if wanted else "not run: `make bench-gateway PEERS=1` installs and runs it"
        if not version.startswith("not run"):
            _told(peer.name)
            side = peers.started(peer, upstream, folder)
            if isinstance(side, Side):
                try:
                    figures.append(rows.against(stand, ours, peer, side, version))
                finally:
                    side.stop()
                continue
            version = side
        figures.append(Figure(f"throughput against {peer.name}", 0.0, "ratio", peer=peer.name, note=version))
    return figures


def masking() -> list[Figure]:
    """The rows of masking alone: those that its own benchmark writes, where it is there."""
    script = Path(__file__).with_name("masking.py")
    if not script.exists():
        return [Figure("masking alone", 0.0, "", note="not run: benchmarks/masking.py is not there")]
    _told("masking")
    print(quietly([sys.executable, str(script)], script.parents[1]))
    return [_figure(row) for row in json.loads((RESULTS / "masking.json").read_text(encoding="utf-8"))]


def _figure(row: dict[str, Any]) -> Figure:
    """A figure as it was written; which way is better can be told from whether it was enough."""
    ok = row.pop("ok")
    return Figure(**row, larger=ok is not None and ok != (row["value"] <= row["must"]))


def _gateway(stack: ExitStack, side: Guideway) -> Guideway:
    _kept(stack, side).up()
    return side


def _kept(stack: ExitStack, side: Side) -> Side:
    stack.callback(side.stop)
    return side


def _machine(stand: Stand, seconds: float) -> Figure:
    note = f"{stand.quiet}; {stand.rounds} rounds of {stand.seconds:g} s"
    return Figure("the whole run", seconds, "s", note=note)


def _told(what: str) -> None:
    print(f"measuring: {what}", flush=True)


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", action="store_true", help="install and run vllm-router, sglang-router and LiteLLM")
    parser.add_argument("--million", action="store_true", help="a million requests for the slope of the memory")
    parser.add_argument("--requests", type=int, default=100_000, help="requests for the slope of the memory otherwise")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="parts to measure; nothing is written")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="length of one run, whole seconds")
    return parser.parse_args()


if __name__ == "__main__":
    main()
