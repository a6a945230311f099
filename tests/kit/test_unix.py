"""A socket in a folder however deep can be bound and found."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from guideway.kit.unix import short

FDS = Path("/proc/self/fd")


def test_a_name_longer_than_the_kernel_takes_is_bound_and_found(tmp_path):
    path = tmp_path / ("deep" * 20) / ("deeper" * 20) / "one.sock"
    path.parent.mkdir(parents=True)
    assert len(str(path)) > 108
    with socket.socket(socket.AF_UNIX) as listening, socket.socket(socket.AF_UNIX) as client:
        with short(path) as name:
            listening.bind(name)
        listening.listen()
        with short(path) as name:
            client.connect(name)
        client.sendall(b"x")
        assert listening.accept()[0].recv(1) == b"x"


def test_a_name_leaves_no_descriptor_behind_and_a_folder_that_is_missing_is_an_error(tmp_path):
    before = len(list(FDS.iterdir()))
    with short(tmp_path / "one.sock"):
        pass
    assert len(list(FDS.iterdir())) == before
    with pytest.raises(FileNotFoundError), short(tmp_path / "missing" / "one.sock"):
        pass
