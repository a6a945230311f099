"""Tiny models, made once for all test processes, and stand-ins for a model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from replica_fakes import write_tokenizer

from guideway.kit.files import locked
from guideway.pipeline.environment import interpreter_for
from guideway.pipeline.stages.formats import openvino

HERE = Path(__file__).parent
EXPORT = """
import sys
from pathlib import Path
from guideway.pipeline.stages.formats.openvino import export
export(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
"""


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Folders ``hf``, ``fp32``, ``int8`` of one tiny random model, and ``cases``: prompts and reference answers.

    ``chosen`` is ``fp32`` with the input that says from which token on it scores, as stage compress leaves it.
    ``scores`` are those of the reference, for every prompt with its answer.
    """
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    folder = shared / "tiny-models"
    with locked(shared / "tiny-models.lock"):
        if not (folder / "done").exists():
            folder.mkdir(exist_ok=True)
            env = {**os.environ, "ORT_DISABLE_TELEMETRY": "1", "OMP_NUM_THREADS": "1"}
            made = subprocess.run(
                [sys.executable, HERE / "make_models.py", folder],
                check=False,
                env=env,
                capture_output=True,
                text=True,
                timeout=240,
            )
            assert made.returncode == 0, made.stderr[-2000:]
            (folder / "done").touch()
    cases = [(case["prompt"], case["answer"]) for case in json.loads((folder / "reference.json").read_text())]
    with np.load(folder / "scores.npz") as saved:
        scores = [saved[str(number)] for number in range(len(cases))]
    folders = {name: folder / name for name in ("hf", "fp32", "int8", "chosen")}
    return SimpleNamespace(**folders, cases=cases, scores=scores)


@pytest.fixture(scope="session")
def token_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder without a model: tokenizer, chat template, stop token."""
    return write_tokenizer(tmp_path_factory.mktemp("tokens"))


@pytest.fixture(scope="session")
def openvino_models(models: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Folders ``fp32`` and ``int8``: the tiny model in OpenVINO IR, exported in the environment that stages get."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    folder, log = shared / "openvino-models", shared / "openvino-environment.log"
    with locked(shared / "openvino-models.lock"):
        if not (folder / "done").exists():
            assert openvino.environment is not None
            python = interpreter_for(openvino.environment, shared / "environments", log)
            for precision in ("fp32", "int8"):
                (folder / precision).mkdir(parents=True, exist_ok=True)
                argv = [python, "-c", EXPORT, models.hf, folder / precision, precision]
                made = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=240)
                assert made.returncode == 0, made.stderr[-2000:]
            (folder / "done").touch()
    return SimpleNamespace(fp32=folder / "fp32", int8=folder / "int8")
