"""Measure the store against `openssl dgst` and `cp` in the same run: what sealing, verifying and importing cost.

`make bench-store` calls it. It needs 13 GB of disk in the folder for temporary files (TMPDIR).
"""

from __future__ import annotations

import json
import os
import random
import statistics
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.record import Figure, quietly, write
from guideway.core.artifact import Digest
from guideway.sealing.reshard import reshard
from guideway.store.blobs import Blobs

SIZE = 4_000_000_000
"""Bytes of the file; it stays in the page cache between rounds."""
ROUNDS = 5
TENSORS, TENSOR = 100, 2 << 20
"""Tensors of the model of which one changes, and bytes of each."""


class Place(NamedTuple):
    """Where a round works: a file of ``SIZE`` bytes, its digest, and a store on the same file system."""

    file: Path
    digest: Digest
    blobs: Blobs


def main() -> None:
    """Make the file once, measure everything, write the results."""
    with tempfile.TemporaryDirectory(prefix="guideway-store-") as name:
        place = _place(Path(name))
        figures = [*read_ratios(place), *import_ratio(place), *memory(place)]
        place.file.unlink()
        figures += changed(Path(name))
    print()
    write("store", figures)


def read_ratios(place: Place) -> list[Figure]:
    """Sealing a file that is on the disk, and verifying it, against one pass of `openssl dgst`."""
    spent = _rounds(
        {
            "openssl": lambda: _openssl(place.file),
            "seal": lambda: _seal(place),
            "verify": lambda: place.blobs.verify(place.digest, SIZE),
        }
    )
    note = f"{SIZE / 1e9:.0f} GB cached, medians of {ROUNDS}; openssl {SIZE / 1e9 / spent['openssl']:.2f} GB/s"
    return [
        _ratio("seal of a file on the disk, against openssl", spent["openssl"] / spent["seal"], 0.7, note),
        _ratio("verify, against openssl", spent["openssl"] / spent["verify"], 0.7, note),
    ]


def import_ratio(place: Place) -> list[Figure]:
    """A copying import against `cp && sync && openssl dgst`, each onto a disk that owes nothing."""
    copy = place.file.with_name("copy")

    def peer() -> None:
        quietly(["sh", "-c", f"cp {place.file} {copy} && sync && openssl dgst -sha256 {copy}"], copy.parent)

    def ours() -> None:
        assert place.blobs.put_file(place.file).digest == place.digest

    def clear() -> None:
        copy.unlink(missing_ok=True)
        place.blobs.discard(place.digest)
        os.sync()

    spent = _rounds({"peer": peer, "ours": ours}, before=clear)
    clear()
    note = f"medians of {ROUNDS}; {SIZE / 1e9 / spent['ours']:.2f} GB/s, the peer {SIZE / 1e9 / spent['peer']:.2f} GB/s"
    name = "copying import, against cp && sync && openssl"
    return [_ratio(name, spent["peer"] / spent["ours"], 0.8, note, "cp && sync && openssl dgst")]


def memory(place: Place) -> list[Figure]:
    """The peak of a process that imports, seals and verifies the file."""
    code = (
        "import sys; from pathlib import Path; from guideway.store.blobs import Blobs\n"
        "source, blobs = Path(sys.argv[1]), Blobs(Path(sys.argv[2])); file = blobs.put_file(source)\n"
        "blobs.discard(file.digest); blobs.put_file(source, take=True); blobs.verify(file.digest, file.size)\n"
        "print(Path('/proc/self/status').read_text())"
    )
    said = quietly([sys.executable, "-P", "-c", code, str(place.file), str(place.blobs.folder)], place.blobs.folder)
    place.blobs.discard(place.digest)
    peak = next(line for line in said.splitlines() if line.startswith("VmHWM"))
    note = "VmHWM of a child; mapped pages would count, and none of the file is mapped"
    return [Figure("peak memory of import, seal and verify", int(peak.split()[1]) / 1000, "MB", must=150, note=note)]


def changed(folder: Path) -> list[Figure]:
    """What a second release stores when one tensor in a hundred changed."""
    drawn, blobs, grown = random.Random(1), Blobs(folder / "oci"), []
    tensors = {f"layers.{number}.weight": drawn.randbytes(TENSOR) for number in range(TENSORS)}
    for release in ("first", "second"):
        (folder / release).mkdir()
        _write_model(folder / release / "model.safetensors", tensors)
        reshard(folder / release, folder / f"{release} sealed")
        before = sum(size for _, size in blobs.all())
        blobs.put_tree(folder / f"{release} sealed", take=True)
        grown.append(sum(size for _, size in blobs.all()) - before)
        tensors["layers.7.weight"] = drawn.randbytes(TENSOR)
    note = f"one of {TENSORS} tensors of {TENSOR / 1e6:.1f} MB; the first release stored {grown[0] / 1e6:.0f} MB"
    return [Figure("stored by a release with 1 % of the tensors changed", grown[1] / TENSOR, "×", must=1.1, note=note)]


def _place(folder: Path) -> Place:
    """Random bytes, as weights are: nothing on the way can shrink them."""
    print(f"making a file of {SIZE / 1e9:.0f} GB", flush=True)
    drawn, file = random.Random(0), folder / "file"
    block = drawn.randbytes(16_000_000)
    with file.open("wb") as out:
        for number in range(SIZE // len(block)):
            out.write(struct.pack("<Q", number) + block[8:])
        os.fsync(out.fileno())
    return Place(file, "sha256:" + _openssl(file), Blobs(folder / "oci"))


def _openssl(file: Path) -> str:
    return quietly(["openssl", "dgst", "-sha256", "-r", str(file)], file.parent).split()[0]


def _seal(place: Place) -> None:
    """Take the file in; the next round finds it absent and does all of it again."""
    place.blobs.discard(place.digest)
    assert place.blobs.put_file(place.file, take=True).digest == place.digest


def _rounds(works: dict[str, Callable[[], object]], before: Callable[[], None] = lambda: None) -> dict[str, float]:
    """The median seconds of each work. They take turns, so that a busy neighbour hits all of them."""
    spent: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(ROUNDS):
        for name, work in works.items():
            before()
            began = time.perf_counter()
            work()
            spent[name].append(time.perf_counter() - began)
    return {name: statistics.median(times) for name, times in spent.items()}


def _ratio(name: str, value: float, must: float, note: str, peer: str = "openssl dgst -sha256") -> Figure:
    return Figure(name, value, "×", must=must, peer=peer, note=note, larger=True)


def _write_model(path: Path, tensors: dict[str, bytes]) -> None:
    """A safetensors file of F32 vectors."""
    fields: dict[str, object] = {"__metadata__": {"format": "pt"}}
    for number, (name, data) in enumerate(tensors.items()):
        offsets = [number * TENSOR, (number + 1) * TENSOR]
        fields[name] = {"dtype": "F32", "shape": [len(data) // 4], "data_offsets": offsets}
    header = json.dumps(fields).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"".join(tensors.values()))


if __name__ == "__main__":
    main()
