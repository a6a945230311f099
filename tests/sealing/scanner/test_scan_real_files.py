"""Real models of other people: what is data passes, what is a program is refused."""

from __future__ import annotations

import json
import os
import zipfile
from importlib.util import find_spec
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper
from scanner_rig import judged_files, rules, zipped
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from guideway.sealing.scanner import scan_files, scan_folder


def data(name):
    return Path(os.environ["GUIDEWAY_TEST_DATA"]) / name


@pytest.mark.data
@pytest.mark.catalogue("B3")
def test_of_one_model_in_four_formats_three_pass():
    scan = scan_folder(data("model-silero-vad"))
    assert [(one.path, one.rule) for one in scan.findings] == [("silero_vad.jit", "torchscript")]
    weights = {path: name for path, name in scan.formats.items() if name in ("onnx", "safetensors")}
    assert sorted(weights.values()) == ["onnx", "onnx", "safetensors"]


@pytest.mark.data
def test_a_model_passes_with_its_documents_but_not_with_what_is_packed():
    scan = scan_folder(data("model-magika"))
    assert [one.rule for one in scan.findings] == ["compressed"] and scan.findings[0].path.endswith(".json.gz")
    assert list(scan.formats.values()).count("onnx") == 2


@pytest.mark.data
def test_weights_without_a_format_are_unknown():
    assert [(one.path, one.rule) for one in scan_folder(data("model-stories260k")).findings] == [
        ("stories260K.bin", "unknown-format")
    ]


@pytest.mark.data
@pytest.mark.catalogue("B2")
def test_a_program_is_refused_under_the_name_of_weights(tmp_path):
    jit = data("model-silero-vad") / "silero_vad.jit"
    scan = scan_files([(name, jit) for name in ("model.safetensors", "model.onnx", "config.json")])
    assert rules(scan) == ["torchscript"] * 3


def test_a_model_that_the_onnx_library_made_passes_and_its_program_is_refused(tmp_path):
    """The same without data from elsewhere: one small model as data and as a program."""
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1000])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1000])],
        [helper.make_tensor("w", TensorProto.FLOAT, [1000], bytes(range(250)) * 16, raw=True)],
    )
    made = helper.make_model(graph)
    onnx.save(made, tmp_path / "whole.onnx")
    onnx.save(made, tmp_path / "split.onnx", save_as_external_data=True, location="split.data", size_threshold=0)
    scan = judged_files(tmp_path, {"program.jit": zipped({"m/code/m.py": b"", "m/data.pkl": b"\x80\x02}."})})
    assert [(one.path, one.rule) for one in scan.findings] == [("program.jit", "torchscript")]
    assert scan.formats["split.data"] == "onnx-data"


def test_every_model_that_the_onnx_library_brings_passes():
    found = find_spec("onnx")
    files = sorted(Path(found.submodule_search_locations[0]).rglob("*.onnx"))
    scan = scan_files((f"{number}.onnx", path) for number, path in enumerate(files))
    assert len(files) > 100 and scan.findings == () and set(scan.formats.values()) == {"onnx"}


def test_a_tokenizer_as_libraries_write_it_passes(tmp_path):
    made = Tokenizer(models.BPE())
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(), decoders.ByteLevel()
    made.train_from_iterator(
        ["cos system os.system __class__ {{ x }} {% if %} auto_map"] * 9,
        trainers.BpeTrainer(vocab_size=600, special_tokens=["<|end|>"]),
    )
    made.save(str(tmp_path / "tokenizer.json"))
    made.model.save(str(tmp_path))
    scan = judged_files(tmp_path, {"tokenizer_config.json": json.dumps({"eos_token": "<|end|>"})})
    assert scan.findings == () and len(scan.formats) == 4


@pytest.mark.catalogue("B3")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_torch_and_numpy_write_as_pickles_is_refused(tmp_path):
    import numpy
    import torch

    torch.save({"w": torch.zeros(3)}, tmp_path / "new.safetensors")
    torch.save({"w": torch.zeros(3)}, tmp_path / "old.safetensors", _use_new_zipfile_serialization=False)
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "script.safetensors")
    numpy.save(tmp_path / "objects.npy", numpy.array([{}], dtype=object), allow_pickle=True)
    numpy.savez(tmp_path / "many.npz", a=numpy.zeros(3))
    numpy.save(tmp_path / "numbers.npy", numpy.zeros((3, 2)))
    with zipfile.ZipFile(tmp_path / "new.safetensors") as archive:
        assert any(name.endswith("data.pkl") for name in archive.namelist())
    assert {one.path: one.rule for one in scan_folder(tmp_path).findings} == {
        "new.safetensors": "torch-pickle",
        "old.safetensors": "torch-pickle",
        "script.safetensors": "torchscript",
        "objects.npy": "numpy-object",
        "many.npz": "archive",
    }
