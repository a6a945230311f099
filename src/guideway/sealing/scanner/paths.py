"""Names that stay where they are put."""

from __future__ import annotations

import unicodedata

LONGEST_NAME = 255
LONGEST_PATH = 1024


def fault(name: str) -> str | None:
    """Why *name* is no plain relative path, as half a sentence; None when it is one."""
    if not name or len(name.encode("utf-8", "surrogatepass")) > LONGEST_PATH:
        return "is empty or too long"
    if any(unicodedata.category(character) in ("Cc", "Cs", "Co", "Zl", "Zp") for character in name):
        return "holds control characters"
    if name.startswith("/") or name[1:2] == ":":
        return "is absolute"
    if "\\" in name:
        return "holds a backslash"
    parts = name.split("/")
    if any(part in ("", ".", "..") for part in parts):
        return "holds '..', '.' or an empty part"
    if any(len(part.encode()) > LONGEST_NAME for part in parts):
        return "is too long"
    return None


def folded(name: str) -> str:
    """*name* as a file system sees it that knows no case and composes characters."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def beside(path: str, name: str) -> str:
    """The release path of *name*, a plain path relative to the folder of the file *path*."""
    folder = path.rpartition("/")[0]
    return f"{folder}/{name}" if folder else name
