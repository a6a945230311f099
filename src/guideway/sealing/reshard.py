"""Reshard: one large tensor per safetensors file, so that a release with few changed tensors stores only those.

The name and the bytes of a shard depend on its own tensor alone: on its name, type, shape and bytes, and on the
format that the files name (``pt``). All small tensors share one file; what else the files said of themselves is in the
index.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from guideway.core.errors import Corrupt
from guideway.sealing.tensors import BITS, Header, Tensor, header_bytes, read_header
from guideway.store.copying import copy_range, write_all
from guideway.store.intake import lay

ABOVE = 1 << 20
"""Bytes from which on a tensor has a file of its own."""
WHOLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
SMALL = "model-small.safetensors"


def reshard(folder_in: Path, folder_out: Path, *, above: int = ABOVE) -> None:
    """Make *folder_out*, which must not exist, the same model as *folder_in* in canonical shards.

    Every tensor of at least *above* bytes gets a file of its own, the others share one; the index is written as
    transformers reads it. Other files are linked as they are, and so are shards that are canonical already. The same
    tensors give the same files, byte for byte, however they were split before.

    Raises:
        Corrupt: names the file that is broken, or the tensor that is missing or there twice.
    """
    _refuse_links(folder_in)
    folder_out.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{folder_out.name}.", dir=folder_out.parent))
    try:
        model = _model_files(folder_in)
        _link_others(folder_in, unfinished, {*model, WHOLE, INDEX} if model else set())
        if model:
            _write_model(folder_in, model, unfinished, above)
        unfinished.chmod(0o755)
        unfinished.rename(folder_out)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


def reshard_in_place(folder: Path) -> None:
    """Reshard *folder* itself, which nobody else may be using.

    Raises:
        Corrupt: as ``reshard``; the folder is as it was.
    """
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as name:
        reshard(folder, Path(name) / "new")
        folder.rename(Path(name) / "old")
        (Path(name) / "new").rename(folder)


def _write_model(folder_in: Path, model: Sequence[str], out: Path, above: int) -> None:
    headers = {name: read_header(folder_in / name) for name in model}
    index = _read_index(folder_in) if WHOLE not in model else {}
    tensors = _all_tensors(headers)
    _check_map(index.get("weight_map", {}), tensors, folder_in / INDEX)
    metadata: dict[str, Any] = dict(index.get("metadata", {}))
    for name in sorted(headers):  # where files disagree, the first one holds
        metadata = {**headers[name].metadata, **metadata}
    form = {key: str(value) for key, value in metadata.items() if key == "format"}
    shards = _shards(tensors, above, folder_in)
    for name, inside in shards.items():
        if (out / name).exists():
            raise Corrupt("this file is no part of the model, and has the name of one", where=str(folder_in / name))
        _write_shard(out / name, inside, header_bytes(inside, form), headers)
    metadata["total_size"] = sum(one.size for one in tensors.values())
    where = {one.name: name for name, inside in shards.items() for one in inside}
    text = json.dumps({"metadata": metadata, "weight_map": where}, sort_keys=True, indent=2, ensure_ascii=False)
    (out / INDEX).write_text(text + "\n", encoding="utf-8")


def _model_files(folder: Path) -> list[str]:
    """The files that hold the model, as transformers would choose them; none if it is in another format.

    Raises:
        Corrupt: the index names a file that is not there.
    """
    if (folder / WHOLE).is_file():
        return [WHOLE]
    if not (folder / INDEX).is_file():
        return []
    names = sorted(set(_read_index(folder)["weight_map"].values()))
    for name in names:
        if "/" in name or not name.endswith(".safetensors") or not (folder / name).is_file():
            raise Corrupt(f"'{name}' is no safetensors file beside the index", where=str(folder / INDEX))
    return names


class _Index(msgspec.Struct, frozen=True):
    weight_map: dict[str, str]
    metadata: dict[str, Any] = {}


def _read_index(folder: Path) -> dict[str, Any]:
    try:
        found = msgspec.json.decode((folder / INDEX).read_bytes(), type=_Index)
    except msgspec.DecodeError as error:
        raise Corrupt(f"not an index of safetensors files: {error}", where=str(folder / INDEX)) from None
    return msgspec.structs.asdict(found)


def _all_tensors(headers: Mapping[str, Header]) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for header in headers.values():
        for one in header.tensors:
            if one.name in found:
                where = f"tensor '{one.name}' is in {found[one.name].file.name} too"
                raise Corrupt(where, where=str(one.file))
            found[one.name] = one
    return found


def _check_map(where: Mapping[str, str], tensors: Mapping[str, Tensor], index: Path) -> None:
    for name, file in where.items():
        if name not in tensors or tensors[name].file.name != file:
            raise Corrupt(f"tensor '{name}' is not in {file}, where the index says that it is", where=str(index))


def _shards(tensors: Mapping[str, Tensor], above: int, folder: Path) -> dict[str, list[Tensor]]:
    """The files to write, by name, each with its tensors in order."""
    shards: dict[str, list[Tensor]] = {}
    for name, one in sorted(tensors.items()):
        shards.setdefault(_shard_name(name) if one.size >= above else SMALL, []).append(one)
    for shard, inside in shards.items():
        if shard != SMALL and len(inside) > 1:
            raise Corrupt(f"tensors '{inside[0].name}' and '{inside[1].name}' would share a file", where=str(folder))
    if SMALL in shards:  # wide elements first, so that each starts at a multiple of its own width
        shards[SMALL].sort(key=lambda one: (-BITS.get(one.dtype, 0), one.name))
    return shards


def _shard_name(tensor: str) -> str:
    return f"model-{hashlib.sha256(tensor.encode()).hexdigest()[:16]}.safetensors"


def _write_shard(path: Path, tensors: Sequence[Tensor], header: bytes, headers: Mapping[str, Header]) -> None:
    before = headers.get(path.name)
    if before and before.raw == header and [one.name for one in before.tensors] == [one.name for one in tensors]:
        lay(before.tensors[0].file, path)
        return
    target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        write_all(target, memoryview(header))
        for one in tensors:
            source = os.open(one.file, os.O_RDONLY | os.O_CLOEXEC)
            try:
                copy_range(source, target, one.start, one.size)
            finally:
                os.close(source)
    finally:
        os.close(target)


def _refuse_links(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise Corrupt("only plain files can be in a model", where=str(path))


def _link_others(source: Path, target: Path, model: set[str]) -> None:
    """The same tree as links, without the files of the model itself."""
    for path in sorted(source.rglob("*")):
        inside = path.relative_to(source)
        place = target / inside
        if path.is_dir():
            place.mkdir(parents=True, exist_ok=True)
        elif str(inside) not in model:
            place.parent.mkdir(parents=True, exist_ok=True)
            lay(path, place)
