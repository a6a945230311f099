"""Programs: machine code, bytecode, and sources, which have no place in a model folder."""

from __future__ import annotations

import re
from collections.abc import Iterable

from guideway.sealing.scanner.source import Said, Source

MACHINE: dict[bytes, str] = {
    b"\x7fELF": "a program or library for Linux (ELF)",
    b"\xfe\xed\xfa\xce": "a program for macOS (Mach-O)",
    b"\xfe\xed\xfa\xcf": "a program for macOS (Mach-O)",
    b"\xce\xfa\xed\xfe": "a program for macOS (Mach-O)",
    b"\xcf\xfa\xed\xfe": "a program for macOS (Mach-O)",
    b"\xca\xfe\xba\xbe": "a Java class or a program for macOS",
    b"\0asm": "WebAssembly",
    b"dex\n": "a program for Android",
    b"!<arch>\n": "a library of object code",
}
CODE_SUFFIXES = frozenset(
    {
        ".py", ".pyw", ".pyi", ".pyx", ".pyc", ".pyo", ".pyd", ".pth", ".ipynb", ".sh", ".bash", ".zsh", ".fish",
        ".bat", ".cmd", ".ps1", ".vbs", ".js", ".mjs", ".cjs", ".ts", ".wasm", ".php", ".pl", ".rb", ".lua", ".r",
        ".jl", ".c", ".cc", ".cpp", ".cu", ".h", ".hpp", ".rs", ".go", ".java", ".class", ".jar", ".so", ".dll",
        ".dylib", ".exe", ".a", ".o", ".html", ".htm"
    }
)  # fmt: skip
"""Names under which something is run or opened as a program, whatever is inside."""
_PYTHON = re.compile(
    r"\A(?:[ \t]*+(?:#[^\n]*+)?\r?\n|[ \t]*+(?:\"{3}(?s:.*?)\"{3}|'{3}(?s:.*?)'{3})[ \t]*+\r?\n)*+"
    r"(?:import [\w.]+(?: as \w+)?\s*(?:[,;#\n]|\Z)|from [\w.]+ import [\w(*]"
    r"|(?:async )?def \w+\(|class \w+(?:\([^\n]*\))?:[ \t]*\r?\n[ \t]+\S"
    r"|@\w[\w.]*(?:\([^\n]*\))?\r?\n(?:def|class|async) )"
)


def look(source: Source) -> Iterable[Said] | None:
    """A finding when the file is machine code, HDF5 (which Keras fills with code), or Python's bytecode."""
    for magic, called in MACHINE.items():
        if source.starts(magic):
            return [source.finding("executable", f"is {called}")]
    if source.starts(b"MZ") and _portable(source):
        return [source.finding("executable", "is a program or library for Windows (PE)")]
    if _bytecode(source):
        return [source.finding("bytecode", "is compiled Python")]
    if any(source.data[place : place + 8] == b"\x89HDF\r\n\x1a\n" for place in (0, 512, 1024, 2048)):
        return [source.finding("keras", "is HDF5, in which Keras keeps layers that can hold code")]
    return None


def by_name(source: Source) -> Iterable[Said]:
    """A finding when the name alone makes it a program."""
    if source.suffix in CODE_SUFFIXES:
        yield source.finding("code", f"is code by its name ({source.suffix})")


def in_text(source: Source) -> Iterable[Said]:
    """Findings about a text that is a script, whatever its name."""
    if source.starts(b"#!", b"\xef\xbb\xbf#!"):
        yield source.finding("code", "is a script: it begins with #!")
    elif source.suffix not in CODE_SUFFIXES and _PYTHON.match(source.data[:4096].decode("utf-8", "replace")):
        yield source.finding("code", "is Python source")


def _portable(source: Source) -> bool:
    place = int.from_bytes(source.data[60:64], "little")
    return source.data[place : place + 4] == b"PE\0\0" or b"DOS mode" in source.data[:512]


def _bytecode(source: Source) -> bool:
    head = source.data[:17]
    if len(head) < 17 or head[2:4] != b"\r\n" or not 3000 <= int.from_bytes(head[:2], "little") < 4200:
        return False
    return head[16] & 0x7F == ord("c") or head[12] & 0x7F == ord("c") or head[8] & 0x7F == ord("c")
