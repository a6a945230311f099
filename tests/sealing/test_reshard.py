"""Resharding: the same model in files that depend on one tensor each, and broken files named."""

from __future__ import annotations

import json
import random
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open

from guideway.core.errors import Corrupt
from guideway.sealing.reshard import INDEX, SMALL, reshard
from guideway.sealing.tensors import read_header
from guideway.store.blobs import Blobs

MIB = 1 << 20


def write(path: Path, tensors: dict[str, tuple[str, list[int], bytes]], metadata: dict[str, str] | None = None) -> Path:
    """A safetensors file by hand: name, type, shape and bytes of each tensor."""
    fields, place = {"__metadata__": metadata} if metadata else {}, 0
    for name, (dtype, shape, data) in tensors.items():
        fields[name] = {"dtype": dtype, "shape": shape, "data_offsets": [place, place + len(data)]}
        place += len(data)
    return raw(path, fields, b"".join(data for _, _, data in tensors.values()))


def raw(path: Path, header: object, data: bytes) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def tensors_in(folder: Path) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """Every tensor that the index leads to."""
    found = {}
    for name in set(json.loads((folder / INDEX).read_text())["weight_map"].values()):
        data = (folder / name).read_bytes()
        for one in read_header(folder / name).tensors:
            found[one.name] = (one.dtype, one.shape, data[one.start : one.start + one.size])
    return found


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


MODEL = {
    "embed": ("BF16", [512, 2048], b"\1\2" * MIB),
    "layer.0.weight": ("F8_E4M3", [MIB], b"\3" * MIB),
    "layer.0.norm": ("F32", [4], bytes(range(16))),
    "scale": ("F64", [], b"\0" * 8),
    "nothing": ("F32", [0, 7], b""),
    "odd": ("U8", [3], b"abc"),
    "tied.twin": ("BF16", [512, 2048], b"\1\2" * MIB),
    "strange": ("Q3_K", [5, 5], b"12345"),
    "name/with ünusual \"marks\"": ("I64", [1], b"\7" * 8),
}  # fmt: skip


@pytest.fixture
def model(tmp_path):
    write(tmp_path / "in" / "model.safetensors", MODEL, {"format": "pt", "step": "100"})
    (tmp_path / "in" / "config.json").write_text("{}")
    (tmp_path / "in" / "onnx").mkdir()
    (tmp_path / "in" / "onnx" / "other.safetensors").write_bytes(b"not ours to judge")
    return tmp_path / "in"


def test_every_large_tensor_has_a_file_and_the_small_ones_share_one(model, tmp_path):
    reshard(model, tmp_path / "out")
    where = json.loads((tmp_path / "out" / INDEX).read_text())["weight_map"]
    large = {name for name, (_, _, data) in MODEL.items() if len(data) >= MIB}
    assert len({where[name] for name in large}) == len(large)
    assert {where[name] for name in MODEL if name not in large} == {SMALL}


def test_types_shapes_bytes_and_what_the_file_said_survive(model, tmp_path):
    reshard(model, tmp_path / "out")
    assert tensors_in(tmp_path / "out") == {name: (one[0], tuple(one[1]), one[2]) for name, one in MODEL.items()}
    metadata = json.loads((tmp_path / "out" / INDEX).read_text())["metadata"]
    assert metadata == {"format": "pt", "step": "100", "total_size": sum(len(data) for _, _, data in MODEL.values())}
    assert read_header(tmp_path / "out" / SMALL).metadata == {"format": "pt"}


def test_other_files_are_links_and_nothing_else_appears(model, tmp_path):
    reshard(model, tmp_path / "out")
    for name in ("config.json", "onnx/other.safetensors"):
        assert (tmp_path / "out" / name).samefile(model / name)
    assert not (tmp_path / "out" / "model.safetensors").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"in", "out"}


def test_however_it_was_split_the_files_are_the_same(model, tmp_path):
    names = sorted(MODEL)
    random.Random(1).shuffle(names)
    for number, some in enumerate((names[::2], names[1::2])):
        write(tmp_path / "split" / f"part-{number}.safetensors", {name: MODEL[name] for name in some}, {"format": "pt"})
    where = {name: f"part-{number}.safetensors" for number in (0, 1) for name in names[number::2]}
    index = {"metadata": {"step": "100"}, "weight_map": where}
    (tmp_path / "split" / INDEX).write_text(json.dumps(index))
    reshard(model, tmp_path / "one")
    reshard(tmp_path / "split", tmp_path / "two")
    one, two = files_in(tmp_path / "one"), files_in(tmp_path / "two")
    assert {name: data for name, data in one.items() if name in two} == two


def test_canonical_shards_are_linked_and_not_written_again(model, tmp_path):
    reshard(model, tmp_path / "once")
    reshard(tmp_path / "once", tmp_path / "twice")
    for name in files_in(tmp_path / "once"):
        assert (tmp_path / "twice" / name).samefile(tmp_path / "once" / name) or name == INDEX
    assert files_in(tmp_path / "once") == files_in(tmp_path / "twice")


def test_every_tensor_starts_at_a_multiple_of_its_width(model, tmp_path):
    reshard(model, tmp_path / "out")
    widths = {"F64": 8, "I64": 8, "F32": 4, "BF16": 2}
    for path in (tmp_path / "out").glob("model-*.safetensors"):
        for one in read_header(path).tensors:
            assert one.start % widths.get(one.dtype, 1) == 0, one.name


def test_the_library_reads_what_we_write(tmp_path):
    known = {name: one for name, one in MODEL.items() if one[0] not in ("Q3_K", "F8_E4M3", "BF16")}
    write(tmp_path / "in" / "model.safetensors", known, {"format": "np"})
    reshard(tmp_path / "in", tmp_path / "out", above=16)
    for name, file in json.loads((tmp_path / "out" / INDEX).read_text())["weight_map"].items():
        with safe_open(tmp_path / "out" / file, "np") as opened:
            assert opened.get_tensor(name).tobytes() == known[name][2]
            assert opened.metadata() == {"format": "np"}


def test_a_model_in_another_format_is_linked_as_it_is(tmp_path):
    (tmp_path / "in" / "sub").mkdir(parents=True)
    (tmp_path / "in" / "model.onnx").write_bytes(b"onnx")
    (tmp_path / "in" / "sub" / "x").write_bytes(b"x")
    reshard(tmp_path / "in", tmp_path / "out")
    assert files_in(tmp_path / "out") == {"model.onnx": b"onnx", "sub/x": b"x"}


ONE = {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}
TWO = {"dtype": "U8", "shape": [4], "data_offsets": [4, 8]}
BROKEN = {
    "overlap": ({"a": ONE, "b": {**TWO, "data_offsets": [2, 6]}}, b"x" * 6, "starts at 2"),
    "the same bytes twice": ({"a": ONE, "b": ONE}, b"x" * 4, "starts at 0"),
    "hole": ({"a": ONE, "b": {**TWO, "data_offsets": [5, 9]}}, b"x" * 9, "starts at 5"),
    "outside": ({"a": ONE, "b": TWO}, b"x" * 4, "the tensors end at"),
    "more behind": ({"a": ONE}, b"x" * 5, "the tensors end at"),
    "negative": ({"a": {**ONE, "data_offsets": [0, -4]}}, b"", "starts at 0"),
    "shape": ({"a": {**ONE, "shape": [5]}}, b"x" * 4, "asks for another size"),
    "negative shape": ({"a": {**ONE, "shape": [-2, -2]}}, b"x" * 4, "impossible shape"),
    "endless shape": ({"a": {**ONE, "shape": [1] * 65}}, b"x" * 4, "impossible shape"),
    "twice": (b'{"a":' + json.dumps(ONE).encode() + b',"a":' + json.dumps(ONE).encode() + b"}", b"x" * 4, "twice"),
    "offset twice": (b'{"a":{"dtype":"U8","dtype":"U8","shape":[0],"data_offsets":[0,0]}}', b"", "twice"),
    "no object": (b"[]", b"", "no JSON object"),
    "no JSON": (b"{nope}", b"", "not a safetensors file"),
    "not a number": (b'{"a":NaN}', b"", "is not JSON"),
    "deep": (b'{"a":' * 20000 + b"1" + b"}" * 20000, b"", "not a safetensors file"),
    "another encoding": ("{}".encode("utf-16-le"), b"", "not a safetensors file"),
    "half a character": (b'{"\\ud800":' + json.dumps(ONE).encode() + b"}", b"x" * 4, "not a safetensors file"),
    "extra field": ({"a": {**ONE, "code": "x"}}, b"x" * 4, "code"),
    "metadata of numbers": ({"__metadata__": {"a": 1}}, b"", "not a safetensors file"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_named_and_nothing_is_left(tmp_path, case):
    header, data, says = BROKEN[case]
    path = raw(tmp_path / "in" / "model.safetensors", header, data)
    with pytest.raises(Corrupt, match=says) as caught:
        reshard(tmp_path / "in", tmp_path / "out")
    assert caught.value.where == str(path)
    assert [one.name for one in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize(
    "data", [b"", b"1234567", b"\xff" * 8, struct.pack("<Q", 200_000_000) + b"{}", b"\5" + b"\0" * 7]
)
def test_a_header_that_cannot_be_is_refused_before_it_is_read(tmp_path, data):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "model.safetensors").write_bytes(data)
    with pytest.raises(Corrupt, match="a header of"):
        reshard(tmp_path / "in", tmp_path / "out")


@pytest.mark.parametrize(
    ("index", "says"),
    [
        ({"weight_map": {"a": "gone.safetensors"}}, "no safetensors file beside"),
        ({"weight_map": {"a": "../one.safetensors"}}, "no safetensors file beside"),
        ({"weight_map": {"a": "one.safetensors", "ghost": "one.safetensors"}}, "'ghost' is not in one.safetensors"),
        ({"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}, "'a' is in one.safetensors too"),
        ({"weight_map": ["a"]}, "not an index"),
    ],
)
def test_an_index_that_is_wrong_is_refused(tmp_path, index, says):
    write(tmp_path / "in" / "one.safetensors", {"a": ("U8", [1], b"1")})
    write(tmp_path / "in" / "two.safetensors", {"b": ("U8", [1], b"1"), "a": ("U8", [1], b"1")})
    (tmp_path / "in" / INDEX).write_text(json.dumps(index))
    with pytest.raises(Corrupt, match=says):
        reshard(tmp_path / "in", tmp_path / "out")


def test_a_file_in_the_way_of_a_shard_and_a_link_are_refused(model, tmp_path):
    (model / SMALL).write_bytes(b"left over")
    with pytest.raises(Corrupt, match="no part of the model"):
        reshard(model, tmp_path / "out")
    (model / SMALL).unlink()
    (model / "extra.json").symlink_to("/etc/hostname")
    with pytest.raises(Corrupt, match="only plain files"):
        reshard(model, tmp_path / "out")


@given(st.lists(st.tuples(st.sampled_from(["U8", "BF16", "F64"]), st.integers(0, 40)), max_size=8), st.integers(1, 64))
def test_any_model_survives(tmp_path_factory, shapes, above):
    folder = tmp_path_factory.mktemp("any")
    widths = {"U8": 1, "BF16": 2, "F64": 8}
    tensors = {
        f"t{number}": (dtype, [count], bytes([number]) * widths[dtype] * count)
        for number, (dtype, count) in enumerate(shapes)
    }
    write(folder / "in" / "model.safetensors", tensors)
    reshard(folder / "in", folder / "out", above=above)
    assert tensors_in(folder / "out") == {name: (one[0], tuple(one[1]), one[2]) for name, one in tensors.items()}


def bytes_of(blobs: Blobs) -> int:
    return sum(size for _, size in blobs.all())


def test_a_release_in_which_few_tensors_changed_stores_only_those(tmp_path):
    """One per cent of the large tensors changed, and one small one."""
    drawn = random.Random(3)
    base = {f"layer.{n}.weight": ("F32", [MIB // 4], drawn.randbytes(MIB)) for n in range(100)}
    base |= {f"layer.{n}.norm": ("F32", [16], drawn.randbytes(64)) for n in range(100)}
    changed = {"layer.7.weight": ("F32", [MIB // 4], drawn.randbytes(MIB))}
    blobs, grown = Blobs(tmp_path / "oci"), []
    for number, tensors in enumerate((base, base | changed)):
        write(tmp_path / f"in{number}" / "model.safetensors", tensors, {"format": "pt", "step": str(number)})
        reshard(tmp_path / f"in{number}", tmp_path / f"out{number}")
        before = bytes_of(blobs)
        blobs.put_tree(tmp_path / f"out{number}", take=True)
        grown.append(bytes_of(blobs) - before)
    assert grown[0] > 100 * MIB
    assert grown[1] <= 1.1 * MIB


def test_transformers_reads_the_shards_and_gives_the_same_logits(tmp_path):
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(7)
    shape = {"hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": 2, "num_attention_heads": 4}
    for tied in (False, True):
        config = LlamaConfig(vocab_size=400, tie_word_embeddings=tied, max_position_embeddings=64, **shape)
        made = LlamaForCausalLM(config).eval()
        made.save_pretrained(tmp_path / f"in-{tied}")
        reshard(tmp_path / f"in-{tied}", tmp_path / f"out-{tied}", above=10_000)
        assert len(list((tmp_path / f"out-{tied}").glob("model-*.safetensors"))) > 10
        read = AutoModelForCausalLM.from_pretrained(
            tmp_path / f"out-{tied}", use_safetensors=True, local_files_only=True
        )
        ids = torch.arange(40)[None]
        with torch.inference_mode():
            assert torch.equal(made(ids).logits, read.eval()(ids).logits)


def test_the_served_bytes_are_the_blobs_mapped(tmp_path):
    """A second deployment copies nothing: both folders name the inode of the blob, and a reader maps that inode."""
    write(tmp_path / "in" / "model.safetensors", {"w": ("F32", [MIB // 4], b"\1" * MIB)}, {"format": "np"})
    reshard(tmp_path / "in", tmp_path / "out")
    blobs = Blobs(tmp_path / "oci")
    artifact = blobs.put_tree(tmp_path / "out", take=True)
    shard = next(file for file in artifact.files if file.size > MIB)
    first, second = (blobs.lay_out(artifact.files, tmp_path / name) for name in ("one", "two"))
    inode = blobs.path(shard.digest).stat().st_ino
    assert {(folder / shard.path).stat().st_ino for folder in (first, second, first)} == {inode}
    with safe_open(first / shard.path, "np"):
        assert any(line.split()[4:5] == [str(inode)] for line in Path("/proc/self/maps").read_text().splitlines())
    assert (second / shard.path).stat().st_nlink == 4  # the blob, the taken folder, and two deployments
