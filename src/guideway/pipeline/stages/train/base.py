"""Which folders may be a base model: safetensors alone, and nothing that brings code along."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from guideway.core.errors import Refused, SpecError
from guideway.sealing.scanner import Finding, scan_files, scan_folder

CONFIGS = ("config.json", "generation_config.json", "tokenizer_config.json")
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")
_LIKE_HUB = re.compile(r"[\w.-]+/[\w.-]+")
READ = (".json", ".jinja", ".safetensors", ".txt", ".model")


def files_of(folder: Path, said: str) -> Sequence[Path]:
    """The files of the base model in *folder*, which the spec calls *said*.

    Raises:
        SpecError: it is no folder, no model, holds weights as pickles only, or names code to run.
    """
    if not folder.is_dir():
        raise SpecError(
            f"there is no folder '{said}'",
            where="train.base",
            try_this=f"hf:{said}@COMMIT takes it from the hub" if _LIKE_HUB.fullmatch(said) else "mend train.base",
        )
    for needed in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        if not (folder / needed).is_file():
            raise SpecError(f"the base has no {needed}", where=said, try_this="give a folder in Hugging Face format")
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.suffix in READ)
    if not any(path.suffix == ".safetensors" for path in files):
        pickles = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLES)
        found = f"weights as pickle only ({pickles[0]}), and loading one can run code" if pickles else "no weights"
        raise SpecError(f"the base holds {found}", where=said, try_this="give a folder with *.safetensors")
    for name in CONFIGS:
        _refuse_code(folder / name)
    return tuple(files)


def refuse_unsafe(folder: Path, said: str) -> None:
    """Judge every file of the base model in *folder*, which the spec calls *said*; nothing of it is run.

    Raises:
        Refused: names the first file that is unsafe, and what to do.
    """
    _refuse(scan_folder(folder).unsafe, said)


def refuse_unsafe_file(path: Path, said: str) -> None:
    """Judge one file, which the spec calls *said*; nothing of it is run.

    Raises:
        Refused: it is unsafe.
    """
    _refuse(scan_files([(path.name, path)]).unsafe, said.rpartition("/")[0] or ".")


def _refuse(unsafe: Sequence[Finding], said: str) -> None:
    if not unsafe:
        return
    first = unsafe[0]
    more = f"; also {len(unsafe) - 1} more (`guideway scan {said}` lists them)" if len(unsafe) > 1 else ""
    raise Refused(
        f"a file of the base is unsafe: it {first.what}{more}", where=f"{said}/{first.path}", try_this=first.try_this
    )


def refuse_quantised(folder: Path, said: str) -> None:
    """Refuse the base model in *folder*, which the spec calls *said*, where its weights are not whole.

    Raises:
        SpecError: they are quantised.
    """
    if _config(folder / "config.json").get("quantization_config"):
        raise SpecError(
            "the weights of the base are quantised, and this recipe needs them whole",
            where=said,
            try_this="the model that it was made from; recipe: qlora holds that in 4 bits by itself",
        )


def _config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise SpecError(f"not JSON: {error}", where=str(path), try_this="download the base again") from None
    return config if isinstance(config, dict) else {}


def _refuse_code(path: Path) -> None:
    if path.is_file() and _config(path).get("auto_map"):
        raise SpecError(
            "the base wants to run code of its own (auto_map), and that is never done",
            where=str(path),
            try_this="choose a base that transformers knows by itself",
        )
