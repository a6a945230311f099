"""vLLM's own server, run by the interpreter of an environment of its own, behind a face that knows the release.

vLLM pins other versions of torch and transformers than ours, so it lives apart: the host names the interpreter in
``$GUIDEWAY_VLLM``. Nothing is installed at a launch.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shlex
import sys
from pathlib import Path

from guideway.core.errors import GuidewayError, SpecError, Unavailable
from guideway.core.launch import Launch
from guideway.core.release import ServeSettings
from guideway.engines.own import one_token

name = "vllm"
format = "compressed-tensors"

INTERPRETER, FLAGS = "GUIDEWAY_VLLM", "GUIDEWAY_VLLM_FLAGS"
"""Variables of the host: the interpreter that has vLLM, and flags that only the host can know."""
OF_THE_HOST = frozenset(
    [
        "--enforce-eager",
        "--gpu-memory-utilization",
        "--max-model-len",
        "--max-num-batched-tokens",
        "--max-num-seqs",
        "--pipeline-parallel-size",
        "--tensor-parallel-size",
    ]
)
"""Flags that say how large the machine is, and change no answer that fits."""
PRECISION = "precision.json"
"""What `compress` says of the model beside it."""
SERVER = "vllm.entrypoints.openai.api_server"
FACE = Path(__file__).parent / "beside_vllm"
DRAIN = 10
"""Seconds that running answers may take to end."""


def launch(folder: Path, settings: ServeSettings, *, port: int, threads: int) -> Launch:
    """The process that serves the release in *folder* on 127.0.0.1:*port*.

    Raises:
        Unavailable: this host names no interpreter that has vLLM.
        SpecError: it names flags that are none of the host's.
        GuidewayError: the model in *folder* is of another format.
    """
    arguments = (*_of_the_release(folder, settings), *_of_ours(port), *_of_the_host())
    return Launch(
        argv=(interpreter(), "-m", SERVER, *arguments),
        port=port,
        probe=one_token(settings),
        env=_environment(folder, threads),
    )


def servable() -> None:
    """Refuse a machine that could start no replica.

    Raises:
        Unavailable: it names no interpreter that has vLLM.
        SpecError: it names flags that are none of the host's.
    """
    interpreter()
    _of_the_host()


def interpreter() -> str:
    """The interpreter that has vLLM: the one that the host names, or ours.

    Raises:
        Unavailable: there is none.
    """
    named = os.environ.get(INTERPRETER, "")
    if named:
        if not os.access(named, os.X_OK) or Path(named).is_dir():
            raise Unavailable(f"'{named}' is no interpreter", where=f"${INTERPRETER}", try_this="VENV/bin/python")
        return named
    if importlib.util.find_spec("vllm") is None:
        raise Unavailable(
            "the engine vllm needs vLLM, which is not installed here",
            try_this=f"install it apart and set {INTERPRETER}=VENV/bin/python (docs/serving.md)",
        )
    return sys.executable


def _of_the_release(folder: Path, settings: ServeSettings) -> tuple[str, ...]:
    model = folder / "model"
    template = ("--chat-template", settings.template) if settings.template else ()
    return ("--model", str(model), "--served-model-name", settings.name, "--dtype", _type(model), *template)


def _of_ours(port: int) -> tuple[str, ...]:
    return (
        *("--host", "127.0.0.1", "--port", str(port)),
        *("--load-format", "safetensors"),
        *("--generation-config", "vllm"),  # the face gives what the release says; a base may bring penalties
        "--no-trust-remote-code",
        "--no-enable-prefix-caching",  # how soon an answer begins would tell one caller what another has asked
        "--no-enable-log-requests",
        "--disable-uvicorn-access-log",
        "--disable-fastapi-docs",
        *("--middleware", "guideway_face.Face"),
        *("--shutdown-timeout", str(DRAIN)),
    )


def _of_the_host() -> tuple[str, ...]:
    """What ``$GUIDEWAY_VLLM_FLAGS`` adds."""
    try:
        flags = tuple(shlex.split(os.environ.get(FLAGS, "")))
    except ValueError as error:
        raise SpecError(f"not words of a shell: {error}", where=f"${FLAGS}") from None
    for flag in flags:
        if flag.startswith("-") and flag.partition("=")[0] not in OF_THE_HOST:
            raise SpecError(
                f"'{flag}' is no flag of the host",
                where=f"${FLAGS}",
                try_this=f"one of {', '.join(sorted(OF_THE_HOST))}",
            )
    return flags


def _type(model: Path) -> str:
    """The type that the weights are computed in: vLLM would take another one of its own accord."""
    try:
        said = json.loads((model / PRECISION).read_bytes())["dtype"]
    except (OSError, ValueError, KeyError, TypeError):
        raise GuidewayError("this model was not made for vLLM", where=str(model / PRECISION)) from None
    return str(said)


def _environment(folder: Path, threads: int) -> tuple[tuple[str, str], ...]:
    return (
        ("DO_NOT_TRACK", "1"),
        ("GUIDEWAY_RELEASE", str(folder)),
        ("GUIDEWAY_STATE", ""),  # it may hold a password, and foreign code has no use for it
        ("HF_HUB_DISABLE_TELEMETRY", "1"),
        ("HF_HUB_OFFLINE", "1"),
        ("OMP_NUM_THREADS", str(threads)),
        ("PYTHONPATH", str(FACE)),
        ("PYTHONSAFEPATH", "1"),
        ("TOKENIZERS_PARALLELISM", "false"),
        ("VLLM_API_KEY", ""),  # the probe would be refused
        ("VLLM_CPU_KVCACHE_SPACE", os.environ.get("VLLM_CPU_KVCACHE_SPACE", "1")),  # GiB; else most of the memory
        ("VLLM_CPU_OMP_THREADS_BIND", "nobind"),  # every replica would bind itself to the same processors
        ("VLLM_DEBUG_LOG_API_SERVER_RESPONSE", "0"),
        ("VLLM_NO_USAGE_STATS", "1"),
        ("VLLM_PLUGINS", ""),
        ("VLLM_SERVER_DEV_MODE", "0"),
    )
