"""GGUF: every weight and every token of the trained model, or one clear line why not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import gguf
import numpy as np
import pytest
from gguf_rig import KINDS, VOCABULARY, make_model
from safetensors.numpy import load_file, save_file
from stage_rig import colour_spec, spec_of

from guideway.core.errors import GuidewayError, SpecError, Unavailable
from guideway.pipeline.stages import train
from guideway.pipeline.stages.compress.sizes import weights
from guideway.pipeline.stages.formats import check_explained, check_programs, format_in, format_of
from guideway.pipeline.stages.formats.gguf.shapes import place_of, shape_of
from guideway.pipeline.stages.formats.gguf.words import rule_of, words_of
from guideway.pipeline.stages.formats.gguf.write import export
from guideway.pipeline.stages.package import shipped
from guideway.sealing.scanner import scan_folder


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def exported(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("fp32")
    export(source, out, "fp32")
    return out


def changed(source: Path, folder: Path, name: str, **said: object) -> Path:
    """A copy of *source* whose JSON file *name* says other things."""
    shutil.copytree(source, folder)
    before = json.loads((folder / name).read_text())
    (folder / name).write_text(json.dumps(before | said))
    return folder


def test_the_engine_llamacpp_ships_what_compress_writes_as_gguf(exported: Path) -> None:
    spec = spec_of(serve={"engine": "llamacpp"})
    assert (format_of(spec).name, shipped(spec)) == ("gguf", "compress")
    found = format_in(exported)
    assert found is not None and found.name == "gguf"
    assert weights(exported) == (exported / "model.gguf").stat().st_size


def test_beside_the_model_lies_what_engine_and_gateway_read(source: Path, exported: Path) -> None:
    names = {path.name for path in exported.iterdir()}
    assert {"model.gguf", "config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"} <= names
    assert (exported / "tokenizer.json").read_bytes() == (source / "tokenizer.json").read_bytes()


def test_every_weight_of_the_model_is_there_in_float32(source: Path, exported: Path) -> None:
    tensors = {one.name: one.data for one in gguf.GGUFReader(exported / "model.gguf").tensors}
    before = load_file(source / "model.safetensors")
    assert len(tensors) == len(before) == 2 * 9 + 2
    for name, weight in before.items():
        if "q_proj" not in name and "k_proj" not in name:
            assert np.array_equal(tensors[place_of(name)], weight), name
    turned = before["model.layers.1.self_attn.q_proj.weight"].reshape(4, 2, 8, 64)
    rows = tensors["blk.1.attn_q.weight"].reshape(4, 8, 2, 64)
    assert np.array_equal(rows[:, :, 0], turned[:, 0]) and np.array_equal(rows[:, :, 1], turned[:, 1])


def test_the_file_says_the_shape_and_the_words_of_the_model(source: Path, exported: Path) -> None:
    reader = gguf.GGUFReader(exported / "model.gguf")
    said = {name: field.contents() for name, field in reader.fields.items()}
    assert said["general.architecture"] == "llama" and said["llama.rope.freq_base"] == 5000.0
    assert (said["llama.attention.head_count"], said["llama.attention.head_count_kv"]) == (4, 2)
    assert said["llama.context_length"] == 128
    assert said["tokenizer.ggml.pre"] == "smollm" and said["tokenizer.ggml.add_bos_token"] is False
    assert said["tokenizer.chat_template"] == (source / "chat_template.jinja").read_text()
    words = words_of(source, VOCABULARY)
    assert said["tokenizer.ggml.tokens"] == words.tokens and words.tokens[words.ends[0]] == "<|end|>"
    assert words.kinds[:4] == [3, 3, 3, 3] and set(words.kinds[4:]) == {1, 5}


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_two_exports_are_the_same_bytes_and_say_nothing_of_where_they_were_made(
    source: Path, tmp_path: Path, precision: str
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for out in (one, two):
        out.mkdir()
        export(source, out, precision)
        assert str(tmp_path).encode() not in (out / "model.gguf").read_bytes()
    assert {p.name: p.read_bytes() for p in one.iterdir()} == {p.name: p.read_bytes() for p in two.iterdir()}


def test_int8_keeps_eight_bits_of_matrices_and_all_of_vectors(source: Path, tmp_path: Path) -> None:
    export(source, tmp_path, "int8")
    kinds = {one.name: one.tensor_type.name for one in gguf.GGUFReader(tmp_path / "model.gguf").tensors}
    assert {kind for name, kind in kinds.items() if "norm" not in name} == {"Q8_0"}
    assert {kind for name, kind in kinds.items() if "norm" in name} == {"F32"}


def test_rows_that_no_block_divides_stay_as_they_are(tmp_path: Path) -> None:
    source, out = make_model(tmp_path / "odd", hidden_size=48, head_dim=16), tmp_path / "out"
    out.mkdir()
    export(source, out, "int8")
    kinds = {one.name: one.tensor_type.name for one in gguf.GGUFReader(out / "model.gguf").tensors}
    assert kinds["blk.0.attn_q.weight"] == "F32" and kinds["blk.0.ffn_down.weight"] == "Q8_0"


def test_the_scanner_finds_nothing_in_an_export(exported: Path) -> None:
    found = scan_folder(exported)
    assert found.formats["model.gguf"] == "gguf" and not found.findings


@pytest.mark.parametrize("kind", KINDS)
def test_each_architecture_has_all_its_tensors(kind: str, tmp_path: Path) -> None:
    source, out = make_model(tmp_path / kind, kind), tmp_path / "out"
    out.mkdir()
    export(source, out, "fp32")
    found = {one.name for one in gguf.GGUFReader(out / "model.gguf").tensors}
    assert len(found) == len(load_file(source / "model.safetensors"))
    assert ("blk.0.attn_q.bias" in found, "blk.1.attn_q_norm.weight" in found) == (kind == "qwen2", kind == "qwen3")


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"model_type": "bert"}, "a model of type 'bert'"),
        ({"rope_parameters": {"rope_type": "llama3", "rope_theta": 1.0}}, "positions of type 'llama3'"),
        ({"sliding_window": 64}, "a sliding window of 64"),
        ({"hidden_act": "gelu"}, "the activation 'gelu'"),
    ],
)
def test_a_model_that_gguf_of_ours_cannot_hold_is_refused_by_name(
    source: Path, tmp_path: Path, said: dict[str, object], why: str
) -> None:
    folder = changed(source, tmp_path / "other", "config.json", **said)
    with pytest.raises(GuidewayError, match=f"{why} cannot be written as GGUF"):
        export(folder, tmp_path, "fp32")


def test_older_configurations_say_the_same_in_other_words(source: Path) -> None:
    config = json.loads((source / "config.json").read_text())
    older = {key: value for key, value in config.items() if key != "rope_parameters"}
    assert shape_of({**older, "rope_theta": 5000.0, "rope_scaling": None}) == shape_of(config)


def test_a_tensor_without_a_place_stops_the_export(source: Path, tmp_path: Path) -> None:
    shutil.copytree(source, tmp_path / "more")
    save_file({"model.layers.0.mlp.gate.weight": np.zeros((2, 2), np.float32)}, tmp_path / "more" / "z.safetensors")
    with pytest.raises(GuidewayError, match=r"the tensor 'model\.layers\.0\.mlp\.gate\.weight' cannot be written"):
        export(tmp_path / "more", tmp_path, "fp32")


def test_a_tokenizer_whose_cut_llama_cpp_cannot_name_is_refused(colours, tmp_path: Path) -> None:
    with pytest.raises(GuidewayError, match="has no name for how it cuts text") as refused:
        export(colours.out["train"], tmp_path, "fp32")
    assert "train anew with engine: llamacpp" in str(refused.value) and not list(tmp_path.iterdir())


BYTES = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)


def tokenizer_of(pre: object, **model: object) -> dict[str, object]:
    return {"model": {"type": "BPE", **model}, "normalizer": None, "pre_tokenizer": pre}


def sequence(pattern: str) -> dict[str, object]:
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    return {"type": "Sequence", "pretokenizers": [split, BYTES]}


@pytest.mark.parametrize(
    ("said", "name"),
    [
        (tokenizer_of(BYTES | {"use_regex": True}), "gpt-2"),
        (tokenizer_of(sequence(LLAMA3), ignore_merges=True), "llama-bpe"),
        (tokenizer_of(sequence(LLAMA3)), "smaug-bpe"),
        (tokenizer_of(sequence(LLAMA3.replace("{1,3}", ""))), "qwen2"),
    ],
)
def test_the_cuts_of_well_known_tokenizers_have_names(said: dict[str, object], name: str) -> None:
    assert rule_of(said) == name


@pytest.mark.parametrize(
    "said",
    [
        tokenizer_of(sequence(r"\w+")),
        tokenizer_of(BYTES | {"use_regex": True, "add_prefix_space": True}),
        tokenizer_of(None),
        tokenizer_of(BYTES, byte_fallback=True),
        {"model": {"type": "WordPiece"}, "pre_tokenizer": BYTES},
    ],
)
def test_other_tokenizers_are_refused(said: dict[str, object]) -> None:
    with pytest.raises(GuidewayError, match="the tokenizer cannot be written as GGUF"):
        rule_of(said)


def test_what_is_put_before_every_text_is_said(source: Path, tmp_path: Path) -> None:
    special = [{"SpecialToken": {"id": "<|user|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    tokens = {"<|user|>": {"id": "<|user|>", "ids": [2], "tokens": ["<|user|>"]}}
    processor = {"type": "TemplateProcessing", "single": special, "pair": special, "special_tokens": tokens}
    folder = changed(source, tmp_path / "begun", "tokenizer.json", post_processor=processor)
    with pytest.raises(GuidewayError, match="puts more around a text"):
        words_of(folder, VOCABULARY)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**config, "bos_token": "<|user|>"}))
    words = words_of(folder, VOCABULARY)
    assert (words.adds_begin, words.begin) == (True, 2)


def test_more_ends_than_gguf_has_names_for_are_refused(source: Path, tmp_path: Path) -> None:
    assert words_of(
        changed(source, tmp_path / "two", "generation_config.json", eos_token_id=[3, 0]), VOCABULARY
    ).ends == [
        0,
        3,
    ]
    with pytest.raises(GuidewayError, match="4 tokens end an answer"):
        words_of(changed(source, tmp_path / "four", "generation_config.json", eos_token_id=[1, 2, 3]), VOCABULARY)


def test_without_its_programs_the_check_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    spec = spec_of(serve={"engine": "llamacpp"})
    with pytest.raises(Unavailable, match="needs llama-server"):
        check_programs(spec)
    (tmp_path / "llama-server").touch(mode=0o755)
    check_programs(spec)
    with pytest.raises(Unavailable, match="needs llama-quantize"):
        check_programs(spec_of(serve={"engine": "llamacpp"}, compress={"precision": "int4"}))
    check_programs(spec_of())


def test_what_our_own_server_cannot_ask_is_not_explained() -> None:
    check_explained(spec_of(explain={}))
    check_explained(spec_of(serve={"engine": "llamacpp"}))
    with pytest.raises(SpecError, match="what the engine llamacpp serves cannot be explained"):
        check_explained(spec_of(serve={"engine": "llamacpp"}, explain={}))


def test_only_a_tokenizer_made_here_for_this_engine_is_cut_in_another_way() -> None:
    asked = train.params(colour_spec(serve={"engine": "llamacpp"}))
    assert asked["cut"] == "known" and "cut" not in train.params(colour_spec())
    taken = colour_spec(serve={"engine": "llamacpp"}, train={"recipe": "full", "base": "base"})
    assert "cut" not in train.params(taken)
