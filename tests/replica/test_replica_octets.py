"""A classifier of bytes over the Open Inference Protocol: as text, in base64, or as the numbers themselves."""

from __future__ import annotations

import base64
import json

import numpy as np
import pytest
from test_replica_inference import House, infer, outputs_of

from guideway.kit.http1 import Request
from guideway.replica.classifier import FILE, ClassifierSettings, Octets, Unreadable, read_settings, write_settings
from guideway.replica.octets import OctetReader

OCTETS = Octets("octets", "INT32", "out", False, begin=4, end=3, padding=256, block=16, strip=True, least=2)
FILL = 256


class Bytes(House):
    """A service whose model says which of two classes the first number is."""

    def __init__(self, folder):
        super().__init__(
            folder, compute=lambda batch: np.float32([[0.9, 0.1] if row[0] < 97 else [0.2, 0.8] for row in batch])
        )
        self.settings = ClassifierSettings(("upper", "lower"), OCTETS.size, octets=OCTETS)
        self.reader = OctetReader(OCTETS)


@pytest.fixture
def house(tmp_path):
    return Bytes(tmp_path)


@pytest.mark.parametrize(
    ("content", "numbers"),
    [
        (b"ab", [97, 98, FILL, FILL, FILL, 97, 98]),
        (b"  abcdefg\n", [97, 98, 99, 100, 101, 102, 103]),
        (b"a" * 20 + b"xyz", [97, 97, 97, 97, 120, 121, 122]),
        (bytes([0, 255]), [0, 255, FILL, FILL, FILL, 0, 255]),
    ],
)
def test_the_beginning_and_the_end_become_numbers(content, numbers):
    reader = OctetReader(OCTETS)
    assert reader.numbers(content) == numbers
    assert reader.encode("data:;base64," + base64.b64encode(content).decode()) == numbers


def test_what_lies_beyond_a_block_is_not_looked_at():
    seen = OctetReader(OCTETS).numbers(b" " * 14 + b"abcdef" + b"." * 20)
    assert seen[:4] == [97, 98, FILL, FILL]


@pytest.mark.parametrize(
    ("text", "why"), [("a", "1 bytes are too few"), ("   \n", "0 bytes"), ("data:;base64,?", "no base64")]
)
def test_what_cannot_be_judged_is_said(text, why):
    with pytest.raises(Unreadable, match=why):
        OctetReader(OCTETS).encode(text)


def numbers(*data, name="octets", datatype="INT32", shape=None):
    tensor = {
        "name": name,
        "shape": shape or [len(data) // OCTETS.size, OCTETS.size],
        "datatype": datatype,
        "data": list(data),
    }
    return Request("POST", "/v2/models/weather/infer", {}, json.dumps({"inputs": [tensor]}).encode())


def test_texts_and_numbers_are_classified_alike(house):
    texts = outputs_of(house.ask(infer("HELLO", "hello")))["label"]["data"]
    assert texts == ["upper", "lower"]
    rows = [number for text in (b"HELLO", b"hello") for number in house.reader.numbers(text)]
    assert outputs_of(house.ask(numbers(*rows)))["label"]["data"] == texts


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (numbers(*[1] * 6, shape=[1, 6]), "the shape [rows, 7]"),
        (numbers(*[1] * 7, datatype="INT64"), "the datatype INT32"),
        (numbers(*[300] * 7), "whole numbers from 0 to 256"),
        (numbers(*[1.5] * 7), "whole numbers from 0 to 256"),
        (numbers(*[True] * 7), "whole numbers from 0 to 256"),
        (numbers(*[[1] * 7], shape=[1, 7]), "the shape [rows, 7]"),
        (numbers(shape=[0, 7]), "one row at least"),
        (numbers(*[1] * 7, name="other"), "the only input is 'text'"),
        (infer("a"), "too few to judge"),
        (infer("data:;base64,?"), "no base64"),
        (infer("data:;base64,é"), "no base64"),
    ],
)
def test_a_request_that_does_not_fit_is_a_bad_one(house, request_, why):
    answer = house.ask(request_)
    assert answer.status == 400
    assert why in json.loads(answer.body)["error"]


def test_the_metadata_tells_both_inputs_and_how_bytes_become_numbers(house):
    said = json.loads(house.ask(Request("GET", "/v2/models/weather", {}, b"")).body)
    assert [(one["name"], one["datatype"], one["shape"]) for one in said["inputs"]] == [
        ("text", "BYTES", [-1]),
        ("octets", "INT32", [-1, 7]),
    ]
    assert said["inputs"][1]["parameters"] == {"begin": 4, "end": 3, "padding": 256, "block": 16}
    assert said["outputs"][2]["shape"] == [-1, 2]


def test_settings_of_texts_do_not_mention_bytes_and_those_of_bytes_come_back(tmp_path):
    write_settings(tmp_path, ClassifierSettings(("a", "b"), 8))
    assert "octets" not in (tmp_path / FILE).read_text()
    settings = ClassifierSettings(("a", "b"), OCTETS.size, octets=OCTETS)
    write_settings(tmp_path, settings)
    assert read_settings(tmp_path) == settings
