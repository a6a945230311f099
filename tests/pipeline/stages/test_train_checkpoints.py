"""Checkpoints are whole or not there, and a damaged one is noticed."""

from __future__ import annotations

import os
import resource
import subprocess
import sys

import pytest
import torch

from guideway.pipeline.stages.train.checkpoints import Checkpoints

TENSORS = {"a": torch.arange(1000.0), "b": torch.ones(3, 3)}


@pytest.fixture
def two(tmp_path):
    """A folder with two checkpoints, and their paths, oldest first."""
    checkpoints = Checkpoints(tmp_path / "resume")
    for step in (10, 20):
        checkpoints.save(step, TENSORS, f"state {step}")
    return checkpoints, sorted(checkpoints.folder.iterdir())


def damaged(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def torn(path):
    os.truncate(path, path.stat().st_size // 2)


def emptied(path):
    path.write_bytes(b"")


def test_what_is_saved_comes_back(two):
    found = two[0].newest()
    assert (found.step, found.state) == (20, "state 20")
    assert {name: tensor.tolist() for name, tensor in found.tensors.items()} == {
        name: tensor.tolist() for name, tensor in TENSORS.items()
    }


@pytest.mark.parametrize("harm", [damaged, torn, emptied])
def test_a_damaged_checkpoint_is_noticed_and_the_one_before_is_used(two, harm):
    checkpoints, (_, newest) = two
    harm(newest)
    assert checkpoints.newest().step == 10
    assert not newest.exists()
    assert checkpoints.damaged == [newest.name.partition(".")[0]]


def test_when_all_are_damaged_there_is_none(two):
    checkpoints, paths = two
    for path in paths:
        torn(path)
    assert checkpoints.newest() is None and list(checkpoints.folder.iterdir()) == []


def test_no_folder_means_no_checkpoint(tmp_path):
    assert Checkpoints(tmp_path / "nowhere").newest() is None


def test_what_a_killed_writer_left_is_removed(two):
    checkpoints, _ = two
    (checkpoints.folder / ".part-123").write_bytes(b"half")
    assert checkpoints.newest().step == 20
    assert not list(checkpoints.folder.glob(".part-*"))


FULL = """
import sys, torch
from pathlib import Path
from guideway.pipeline.stages.train.checkpoints import Checkpoints
try:
    Checkpoints(Path(sys.argv[1])).save(30, {"big": torch.zeros(1 << 20)}, "state 30")
except OSError as error:
    print("OSError:", error)
"""


def test_no_room_for_a_checkpoint_leaves_the_older_ones_and_nothing_torn(two):
    """The kernel itself refuses to write on, as a full disk does."""
    checkpoints, paths = two

    def little_room():
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))

    said = subprocess.run(
        [sys.executable, "-c", FULL, str(checkpoints.folder)],
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=little_room,
    )
    assert said.stdout.startswith("OSError: "), said
    assert sorted(checkpoints.folder.iterdir()) == paths
    assert checkpoints.newest().step == 20
