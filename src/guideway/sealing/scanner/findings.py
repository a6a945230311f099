"""What a scan says: findings, each with a rule, and for every rule the way out."""

from __future__ import annotations

import re

import msgspec

ADVICE: dict[str, str] = {
    # formats that can run code when they are loaded
    "pickle": "convert it to safetensors on a machine that may be lost",
    "torch-pickle": "save the weights as safetensors",
    "torchscript": "export the model to ONNX",
    "joblib": "export the model to ONNX",
    "keras": "export the model to ONNX",
    "numpy-object": "save the array with a numeric type",
    "executable": "remove it; a model is data",
    "bytecode": "remove it; a model is data",
    "code": "remove it; a model that needs its own code is not loaded",
    "auto-map": "choose a model that its library knows by itself",
    "trust-remote-code": "remove the key; remote code is never run",
    "code-reference": "remove the key; a configuration that names code is not loaded",
    "yaml-tag": "write plain YAML",
    "template": "use the template of the model's makers, or a plain one",
    "template-unread": "pip install 'guideway[serve]', which reads templates",
    "onnx-python-op": "export the model without operators in Python",
    # files that are not what they claim
    "archive": "unpack it, and give the files inside",
    "compressed": "unpack it, and give the file inside",
    "polyglot": "make the file again from its source",
    "safetensors": "save it again with the safetensors library",
    "gguf": "convert the model again with llama.cpp",
    "onnx": "export the model again",
    "onnx-external": "keep external data beside the model, and give the whole folder",
    "openvino": "convert the model again, and give the whole folder",
    "xml": "remove it, or write it without DTD and scripts",
    "npy": "save the array again with a numeric type",
    "image": "save the picture again, or remove it",
    "json": "write plain JSON",
    "yaml": "write plain YAML",
    "path": "name files beside this one, as plain relative paths",
    # places
    "link": "replace the link by the file itself",
    "special-file": "remove it",
    "file-name": "rename it with plain characters",
    "unreadable": "let this user read it",
    "too-large": "split it",
    "unknown-format": "remove it, or convert it to safetensors, ONNX or GGUF",
    "secret": "remove it, revoke it where it was issued, and make a new one",
}
"""Every rule, and what to do about a finding of it."""


class Finding(msgspec.Struct, frozen=True):
    """One reason against a file. ``what`` is half a sentence and never holds a secret itself."""

    rule: str
    path: str
    what: str
    try_this: str

    def __str__(self) -> str:
        return f"{self.path}: {self.what} ({self.try_this})"


class Scan(msgspec.Struct, frozen=True):
    """The outcome of a scan: how many files and bytes, what was found, and each file's format by its path."""

    files: int
    bytes: int
    findings: tuple[Finding, ...]
    formats: dict[str, str]

    @property
    def unsafe(self) -> tuple[Finding, ...]:
        """Findings about what a file could do, or pretends to be."""
        return tuple(one for one in self.findings if one.rule != "secret")

    @property
    def secrets(self) -> tuple[Finding, ...]:
        """Findings of secrets."""
        return tuple(one for one in self.findings if one.rule == "secret")


class Malformed(ValueError):
    """The file breaks its own format, or goes beyond what is allowed; *rule* says against which rule."""

    def __init__(self, rule: str, what: str) -> None:
        super().__init__(what)
        self.rule, self.what = rule, what


def finding(rule: str, path: str, what: str) -> Finding:
    """A finding with the advice that belongs to *rule*."""
    return Finding(rule, path, what, ADVICE[rule])


def shown(text: str | bytes, limit: int = 60) -> str:
    """*text* from a stranger's file as something that can be printed: one line, no control characters, bounded."""
    if isinstance(text, bytes):
        text = text[: limit * 4].decode("utf-8", "replace")
    plain = re.sub(r"[^\x20-\x7e\u00a1-\u2027\u2030-\u205e\u2070-\ud7ff]", "?", text[: limit + 1])
    return plain if len(plain) <= limit else plain[: limit - 1] + "…"
