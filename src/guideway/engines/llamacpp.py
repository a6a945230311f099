"""llama.cpp's own server over a GGUF file: small, without Python, at home on laptops and on small processors.

It is not ours, so it is told on its command line, and not by what happens to stand in the environment, all that a
release promises: whose text is kept, which defaults an answer has, which template is written, who may call.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import msgspec

from guideway.core.errors import SpecError, Unavailable
from guideway.core.launch import Launch
from guideway.core.release import Decoding, ServeSettings
from guideway.core.terms import Terms
from guideway.engines.own import one_token

name = "llamacpp"
format = "gguf"
SERVER, QUANTIZE = "llama-server", "llama-quantize"
MODEL = "model.gguf"
SLOTS = 4
"""Answers computed at once; each has room for the whole context of the model."""
BUSY = ("llamacpp:requests_processing", "llamacpp:requests_deferred")
"""Who is answered, and who waits: asked to end, the server breaks both off."""
SHEDS = ("LLAMA_", "HF_", "MTMD_")
"""Beginnings of the variables that the server would take for settings: tools, keys, models from elsewhere."""
FIELDS = (
    "frequency_penalty", "logit_bias", "logprobs", "max_completion_tokens", "max_tokens", "messages",
    "metadata", "min_p", "model", "n", "parallel_tool_calls", "presence_penalty", "prompt", "response_format",
    "seed", "stop", "store", "stream", "stream_options", "temperature", "tool_choice", "tools", "top_k",
    "top_logprobs", "top_p", "user",
)  # fmt: skip
"""What a client may say. The server knows more: a second name for a bound, and a wish to meet the text of others."""


def launch(folder: Path, settings: ServeSettings, *, port: int, threads: int) -> Launch:
    """The process that serves the release in *folder* on 127.0.0.1:*port*.

    Raises:
        Unavailable: ``llama-server`` is not installed.
        SpecError: the task is none that it does.
    """
    if settings.task == "classify":
        raise SpecError("llama.cpp serves no classifier", where="serve.engine", try_this="engine: onnx")
    model = folder / "model"
    argv = (
        *command(model, port=port, threads=threads, slots=SLOTS),
        *("--alias", settings.name, "--metrics", "--no-cache-prompt"),
        *_defaults(settings.decoding),
        *(("--chat-template", settings.template) if settings.template else ()),
    )
    return Launch(
        argv=argv,
        port=port,
        probe=msgspec.structs.replace(one_token(settings), busy=BUSY),
        sheds=SHEDS,
        terms=Terms(fields=FIELDS, marks=_marks(model)),
    )


def command(model: Path, *, port: int, threads: int, slots: int) -> tuple[str, ...]:
    """How the server is started over the folder *model* for *slots* answers at once: whoever serves or measures.

    Raises:
        Unavailable: it is not installed.
    """
    return (
        *(program(SERVER), "--model", str(model / MODEL), "--host", "127.0.0.1", "--port", str(port)),
        *("--threads", str(threads), "--threads-batch", str(threads), "--parallel", str(slots)),
        *("--ctx-size", str(slots * _context(model)), "--no-kv-unified", "--no-context-shift", "--fit", "off"),
        *("--cache-ram", "0", "--no-slots", "--no-webui", "--offline", "--cors-origins", "localhost"),
        *("--jinja", "--reasoning-format", "none", "--no-escape", "--log-verbosity", "2"),
        *("--samplers", "penalties;temperature;top_k;top_p;min_p"),
    )


def program(name: str) -> str:
    """Where the program *name* of llama.cpp lies.

    Raises:
        Unavailable: it is not installed.
    """
    found = shutil.which(name)
    if found is None:
        raise Unavailable(
            f"the engine llamacpp needs {name}, which is not on $PATH",
            try_this="install llama.cpp (your system's package, or github.com/ggml-org/llama.cpp), or engine: onnx",
        )
    return found


def version() -> str:
    """What ``llama-server`` says that it is, as ``NUMBER-COMMIT``; empty where there is none."""
    found = shutil.which(SERVER)
    if found is None:
        return ""
    said = subprocess.run([found, "--version"], capture_output=True, text=True, errors="replace", check=False)
    told = re.search(r"^version: (\S+)(?: \((\w+)\))?", said.stderr + said.stdout, re.MULTILINE)
    return "-".join(filter(None, told.groups())) if told else "unknown"


def _defaults(decoding: Decoding) -> tuple[str, ...]:
    """What holds where a request says nothing: the release's own, and none of the server's."""
    numbers = {
        "--temp": decoding.temperature,
        "--top-p": decoding.top_p,
        "--top-k": decoding.top_k,
        "--min-p": 0,
        "--predict": decoding.max_tokens,
        "--seed": -1 if decoding.seed is None else decoding.seed,
    }
    said = (word for flag, value in numbers.items() for word in (flag, str(value)))
    return (*said, *(word for stop in decoding.stop for word in ("--reverse-prompt", stop)))


def _marks(model: Path) -> tuple[str, ...]:
    """The special tokens of the tokenizer: the server would obey them wherever they stand in a conversation."""
    added = json.loads((model / "tokenizer.json").read_text(encoding="utf-8"))["added_tokens"]
    return tuple(one["content"] for one in added if one["special"] and one["content"])


def _context(model: Path) -> int:
    """Tokens of the longest sequence, as the configuration beside the GGUF says."""
    return int(json.loads((model / "config.json").read_text(encoding="utf-8"))["max_position_embeddings"])
