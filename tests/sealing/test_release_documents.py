"""Documents of a release: read whole and checked, or refused by name."""

from __future__ import annotations

import pytest

from guideway.core.artifact import File
from guideway.core.errors import Corrupt
from guideway.sealing.documents import documents
from guideway.store.blobs import Blobs


@pytest.fixture
def blobs(tmp_path):
    return Blobs(tmp_path / "oci")


def put(blobs: Blobs, path: str, data: bytes) -> File:
    return File(path, len(data), blobs.put_bytes(data))


def test_json_is_parsed_text_is_text_and_all_else_is_left_alone(blobs):
    files = [
        put(blobs, "serve.json", b'{"name": "m", "n": [1, 2.5, null]}'),
        put(blobs, "environment.lock", b"torch==2.8.0\n"),
        put(blobs, "README.md", "# Größe\n".encode()),
        put(blobs, "template.jinja", b"{{ x }}"),
        put(blobs, "notice.txt", b""),
        put(blobs, "model/model.onnx", b"\xff\xfe"),
        put(blobs, "json", b"{"),
    ]
    assert documents(blobs, files) == {
        "serve.json": {"name": "m", "n": [1, 2.5, None]},
        "environment.lock": "torch==2.8.0\n",
        "README.md": "# Größe\n",
        "template.jinja": "{{ x }}",
        "notice.txt": "",
    }


def test_a_tokenizer_that_says_it_has_no_longest_input_is_read(blobs):
    unlimited = int(1e30)  # as transformers writes it
    file = put(blobs, "model/tokenizer_config.json", b'{"model_max_length": %d}' % unlimited)
    assert documents(blobs, [file]) == {"model/tokenizer_config.json": {"model_max_length": unlimited}}


def test_what_is_larger_than_the_limit_is_left_out(blobs):
    files = [put(blobs, "small.json", b"[1]"), put(blobs, "large.json", b"[1,2,3]")]
    assert documents(blobs, files, limit=3) == {"small.json": [1]}


@pytest.mark.parametrize(
    ("path", "data", "where", "what"),
    [
        ("a.json", b'{"a": 1,\n "b"', "a.json:2", "not JSON"),
        ("a.json", b"", "a.json", "empty"),
        ("a.json", b"[NaN]", "a.json", "'NaN' is not a number"),
        ("a.json", b'{"a": 1, "a": 2}', "a.json", "the key 'a' is in one object twice"),
        ("a.json", b"[" * 100_000, "a.json", "64 deep"),
        ("a.json", b"[" * 500 + b"]" * 500, "a.json", "64 deep"),
        ("a.json", b'"\xff"', "a.json:1", "not UTF-8 text (byte 1)"),
        ("a.md", b"abc\xff", "a.md", "not UTF-8 text (byte 3)"),
    ],
)
def test_a_broken_document_is_corrupt_and_named(blobs, path, data, where, what):
    with pytest.raises(Corrupt) as caught:
        documents(blobs, [put(blobs, path, data)])
    assert caught.value.where == where and what in caught.value.what


@pytest.mark.catalogue("A30")
@pytest.mark.parametrize("damage", [b"[2]", b"[1] and much more than was promised", b"", None])
def test_a_changed_longer_or_missing_document_is_corrupt(blobs, damage):
    file = put(blobs, "a.json", b"[1]")
    blobs.path(file.digest).unlink()
    if damage is not None:
        blobs.path(file.digest).write_bytes(damage)
    with pytest.raises(Corrupt) as caught:
        documents(blobs, [file])
    assert caught.value.where == file.digest
