"""Measure the store: seal, verify and import of large files against openssl; what a small change costs; assess; ledger.

`make bench-store` calls it. Ratios are of speeds, with the peer in the same run and the same cached file.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import ledger
from benchmarks.record import Figure, median_seconds, quietly, write
from guideway.core.gate import Judgement, Verdict
from guideway.sealing.reshard import reshard
from guideway.sealing.seal import seal
from guideway.signing.keys import signer
from guideway.store.blobs import Blobs
from guideway.store.database import Database

SIZE = int(os.environ.get("BENCH_STORE_BYTES", "4294967296"))
TIMES = 3
TENSORS, TENSOR_BYTES = 400, 2 << 20
GUIDEWAY = [sys.executable, "-P", "-m", "guideway.cli"]
PROVEN = Judgement("EVL-01", "it is better", Verdict.PASS, "1", "< 2")


def main() -> None:
    """Measure everything in a temporary folder, and write the results."""
    with tempfile.TemporaryDirectory(prefix="guideway-bench-", dir=os.environ.get("BENCH_STORE_DIR")) as name:
        folder = Path(name)
        figures = [*large_file(folder), *small_change(folder)]
    with tempfile.TemporaryDirectory(prefix="guideway-bench-") as name:
        figures += judging(Path(name))
    figures += ledger.measure()
    print()
    write("store", figures)


def large_file(folder: Path) -> list[Figure]:
    """One file of 4 GB in the page cache: hashed by openssl, sealed, verified, and copied in."""
    source = folder / "model" / "weights.safetensors"
    _make_safetensors(source, SIZE)
    digest = median_seconds(lambda: _openssl(source), TIMES)
    _told("openssl dgst", digest)
    figures = [_against(_sealing(folder, source), digest, "seal of a file on the disk", 0.7, 0.9)]
    blobs = Blobs(folder / "oci")
    file = blobs.put_file(source)
    seconds = median_seconds(lambda: blobs.verify(file.digest, file.size), TIMES)
    figures.append(_against(seconds, digest, "verify", 0.7, 0.9))
    copied, peer = _copying(folder, source)
    note = f"{SIZE / copied / 1e9:.2f} GB/s; cp, sync and openssl take {peer:.1f} s, we {copied:.1f} s"
    figures.append(
        Figure("copying import", peer / copied, "ratio", must=0.8, aim=1.2, peer="cp && sync && openssl dgst",
               note=note, larger=True)
    )  # fmt: skip
    figures.append(_peak_memory(source))
    return figures


def small_change(folder: Path) -> list[Figure]:
    """Two models of 400 tensors, four of which differ: what the second adds to a store that has the first."""
    blobs, grown = Blobs(folder / "small"), []
    for release, changed in (("first", 0), ("second", TENSORS // 100)):
        plain, shards = folder / release / "plain", folder / release / "shards"
        plain.mkdir(parents=True)
        _write_tensors(plain / "model.safetensors", changed)
        reshard(plain, shards)
        before = _bytes_in(blobs)
        blobs.put_tree(shards, take=True)
        grown.append(_bytes_in(blobs) - before)
    ratio = grown[1] / (TENSORS // 100 * TENSOR_BYTES)
    note = f"{grown[1] / 1e6:.1f} MB stored for {TENSORS // 100} changed tensors of {TENSOR_BYTES / 1e6:.1f} MB"
    return [Figure("1 % of the tensors changed", ratio, "ratio", must=1.1, aim=1.05, note=note)]


def judging(folder: Path) -> list[Figure]:
    """A release built from the template, judged by every clause for prod."""
    print("building the template's model: a minute", flush=True)
    quietly([*GUIDEWAY, "init", "."], folder)
    quietly([*GUIDEWAY, "build"], folder)
    argv = [*GUIDEWAY, "assess", "-e", "prod", "--json"]
    seconds = median_seconds(lambda: subprocess.run(argv, cwd=folder, capture_output=True, check=False), 9)
    told = json.loads(subprocess.run(argv, cwd=folder, capture_output=True, check=False).stdout)
    note = f"{len(told['judgements'])} clauses, the whole command with its start"
    return [Figure("guideway assess", seconds, "s", must=0.5, aim=0.3, note=note)]


def _sealing(folder: Path, source: Path) -> float:
    """Seconds to seal a release of the file: hash once, sign the model from that digest, sign and list the release.

    The file is given up, as a stage gives up what it made, and comes back afterwards: with a second name left outside
    it could be written again, and would have to be copied.
    """

    def work() -> None:
        root = Path(tempfile.mkdtemp(dir=folder))
        (root / "tree" / "model").mkdir(parents=True)
        given = source.rename(root / "tree" / "model" / source.name)
        blobs, key = Blobs(root / "oci"), signer(root / "keys")
        with Database(root / "state.db") as database:
            files = blobs.put_tree(root / "tree", take=True).files
            seal(
                blobs, database, key,
                name="bench", files=files, judgements=[PROVEN], proofs=(), facts={}, at=1.0,
            )  # fmt: skip
        given.rename(source)
        shutil.rmtree(root)

    return median_seconds(work, TIMES)


def _copying(folder: Path, source: Path) -> tuple[float, float]:
    """Seconds of a copying import, and of the peer: cp, sync of the copy, and openssl over it."""
    copy = folder / "copy"

    def peer() -> None:
        subprocess.run(["cp", source, copy], check=True)
        subprocess.run(["sync", copy], check=True)
        _openssl(copy)
        copy.unlink()

    def ours() -> None:
        root = Path(tempfile.mkdtemp(dir=folder))
        Blobs(root / "oci").put_file(source)
        shutil.rmtree(root)

    return median_seconds(ours, TIMES), median_seconds(peer, TIMES)


def _peak_memory(source: Path) -> Figure:
    """The peak of a fresh process that takes the file in and verifies it; pages that it maps count as its own."""
    code = (
        "import resource, sys, tempfile; from pathlib import Path; from guideway.store.blobs import Blobs\n"
        "root = Path(tempfile.mkdtemp(dir=Path(sys.argv[1]).parent)); blobs = Blobs(root / 'oci')\n"
        "file = blobs.put_file(Path(sys.argv[1])); blobs.verify(file.digest, file.size)\n"
        "import shutil; shutil.rmtree(root)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6)"
    )
    peak = float(quietly([sys.executable, "-c", code, str(source)], source.parent))
    return Figure("peak memory of import and verify", peak, "MB", must=150, aim=60, note=f"{SIZE / 1e9:.1f} GB file")


def _against(seconds: float, peer: float, metric: str, must: float, aim: float) -> Figure:
    _told(metric, seconds)
    note = f"{SIZE / seconds / 1e9:.2f} GB/s against {SIZE / peer / 1e9:.2f} GB/s"
    return Figure(
        metric, peer / seconds, "ratio", must=must, aim=aim, peer="openssl dgst -sha256", note=note, larger=True
    )


def _told(what: str, seconds: float) -> None:
    print(f"{what}: {seconds:.2f} s", flush=True)


def _openssl(path: Path) -> None:
    subprocess.run(["openssl", "dgst", "-sha256", path], check=True, capture_output=True)


def _make_safetensors(path: Path, size: int) -> None:
    """A safetensors file of one tensor of pseudo-random bytes."""
    path.parent.mkdir(parents=True)
    block = os.urandom(1 << 24)
    with path.open("wb") as file:
        _header(file.write, {"weight": size})
        for number in range(0, size, len(block)):
            file.write(struct.pack("<Q", number) + block[8:])
    os.sync()


def _write_tensors(path: Path, changed: int) -> None:
    """400 tensors of 2 MB; the first *changed* of them differ from those of the other file."""
    with path.open("wb") as file:
        _header(file.write, {f"layers.{number}.weight": TENSOR_BYTES for number in range(TENSORS)})
        for number in range(TENSORS):
            seed = b"%d %d" % (number, number < changed)
            file.write((seed * (TENSOR_BYTES // len(seed) + 1))[:TENSOR_BYTES])


def _header(out: Callable[[bytes], object], tensors: dict[str, int]) -> None:
    at, header = 0, {}
    for name, size in tensors.items():
        header[name] = {"dtype": "U8", "shape": [size], "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    out(struct.pack("<Q", len(text)) + text)


def _bytes_in(blobs: Blobs) -> int:
    return sum(size for _, size in blobs.all())


if __name__ == "__main__":
    main()
