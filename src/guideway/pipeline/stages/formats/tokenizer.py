"""The files of the tokenizer go with every export as they were trained: exporters would write them in their own way."""

from __future__ import annotations

import shutil
from pathlib import Path

OF_THE_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


def copy_tokenizer(source: Path, out: Path) -> None:
    """Copy those that *source* has to *out*."""
    for name in OF_THE_TOKENIZER:
        if (source / name).is_file():
            shutil.copyfile(source / name, out / name)
