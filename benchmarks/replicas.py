"""Measure how fast a replica starts: cold, and forked from a process that has its libraries imported."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from benchmarks.record import Figure
from guideway.core.launch import Launch
from guideway.core.release import ServeSettings
from guideway.engines import engine
from guideway.fleet.host import generates
from guideway.kit.forkserver import ForkServer
from guideway.kit.process import free_port
from guideway.targets.local import LocalTarget

ROUNDS = 3

MODEL = """
import sys, torch
from pathlib import Path
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
out, hidden, layers, vocabulary = Path(sys.argv[1]), *map(int, sys.argv[2:5])
tokenizer = Tokenizer(models.BPE())
tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
tokenizer.decoder = decoders.ByteLevel()
alphabet = pre_tokenizers.ByteLevel.alphabet()
trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=["<s>", "</s>"], initial_alphabet=alphabet)
tokenizer.train_from_iterator(["hello world"], trainer)
fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")
fast.chat_template = "{% for m in messages %}{{ m.content }}{% endfor %}"
torch.manual_seed(0)
config = LlamaConfig(vocab_size=vocabulary, hidden_size=hidden, intermediate_size=hidden * 8 // 3 // 64 * 64,
    num_hidden_layers=layers, num_attention_heads=hidden // 64, num_key_value_heads=hidden // 64,
    max_position_embeddings=512, bos_token_id=0, eos_token_id=1)
LlamaForCausalLM(config).save_pretrained(out)
fast.save_pretrained(out)
"""


def measure() -> list[Figure]:
    """Start time of a second replica against a cold one, for both engines, on random weights of 100M parameters."""
    with tempfile.TemporaryDirectory(prefix="guideway-replicas-") as name:
        folder = Path(name)
        print("making a random model of 100M parameters and its int8 export", flush=True)
        source = _released(folder / "transformers", "transformers")
        subprocess.run(
            [sys.executable, "-c", MODEL, str(source), "768", "12", "16384"], check=True, capture_output=True
        )
        target = _released(folder / "onnx", "onnx")
        export = [
            "-m",
            "onnxruntime_genai.models.builder",
            "-i",
            str(source),
            "-o",
            str(target),
            "-p",
            "int8",
            "-e",
            "cpu",
        ]
        subprocess.run([sys.executable, *export, "-c", str(folder / "cache")], check=True, capture_output=True)
        return [*_start_times(folder, "onnx"), *_start_times(folder, "transformers")]


def _python(*argv: str) -> None:
    subprocess.run([sys.executable, *argv], check=True, capture_output=True)


def _released(folder: Path, engine_name: str) -> Path:
    """A release folder without its model; where the model goes."""
    (folder / "model").mkdir(parents=True)
    settings = ServeSettings(name="m", task="completion", engine=engine_name)
    (folder / "serve.json").write_text(json.dumps(msgspec.to_builtins(settings)))
    return folder / "model"


def _start_times(folder: Path, name: str) -> list[Figure]:
    cold_target = LocalTarget(folder / "run-cold", warm=False)
    warm_target = LocalTarget(folder / "run", warm=True)
    log = folder / "log"
    cold = min(_first_token(cold_target, _launch(folder, name), log) for _ in range(ROUNDS))
    _first_token(warm_target, _launch(folder, name), log)  # starts the fork server
    forked = sorted(_first_token(warm_target, _launch(folder, name), log) for _ in range(ROUNDS))[ROUNDS // 2]
    module = _launch(folder, name).preload
    assert module
    ForkServer(warm_target.socket(module)).stop()
    beside = f"its own cold start takes {cold:.2f} s"
    if name == "onnx":
        return [Figure("second replica, onnx, 100M int8, to its first token", forked, "s", must=1.0, note=beside)]
    ratio = forked / cold
    note = f"{forked:.2f} s against {cold:.2f} s"
    return [Figure("forked transformers replica against its cold start", ratio, "x", must=0.25, peer="cold", note=note)]


def _launch(folder: Path, name: str) -> Launch:
    settings = msgspec.json.decode((folder / name / "serve.json").read_bytes(), type=ServeSettings)
    return engine(name).launch(folder / name, settings, port=free_port(), threads=2)


def _first_token(target: LocalTarget, launch: Launch, log: Path) -> float:
    """Seconds from the start to the first generated token."""
    began = time.perf_counter()
    process = target.start(launch, log)
    try:
        while not generates(launch.port, launch.probe, 30.0):
            if not target.alive(process):
                raise SystemExit(f"a replica died: {log.read_text()[-2000:]}")
            time.sleep(0.005)
        return time.perf_counter() - began
    finally:
        target.stop(process, 2.0)
