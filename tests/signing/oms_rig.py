"""Model signatures written by hand, the real upstream command, and a small model folder."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from guideway.core.artifact import File, digest_bytes
from guideway.signing import oms
from guideway.signing.dsse import pre_authentication
from guideway.signing.keys import Signer

FILES = {"config.json": b"{}", "model/a.txt": b"text", "model/a/b": b"weights", "tokenizer 名.json": b"[1]"}


def lay_out(folder: Path, files: Mapping[str, bytes] = FILES) -> Path:
    """The files in *folder*."""
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


def known(files: Mapping[str, bytes] = FILES) -> list[File]:
    """The files as an artifact lists them."""
    return [File(path, len(data), digest_bytes(data)) for path, data in files.items()]


def statement_of(files: Mapping[str, bytes] = FILES, *, algorithm: str = "sha256", **how: Any) -> dict[str, Any]:
    """What is signed about *files*, in the order of their names; *how* overrides the serialization."""
    resources = [
        {"name": name, "digest": hashlib.new(algorithm, data).hexdigest(), "algorithm": algorithm}
        for name, data in sorted(files.items())
    ]
    root = hashlib.sha256(b"".join(bytes.fromhex(one["digest"]) for one in resources)).hexdigest()
    serialization = {"method": "files", "hash_type": algorithm, "allow_symlinks": False, **how}
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "m", "digest": {"sha256": root}}],
        "predicateType": "https://model_signing/signature/v1.0",
        "predicate": {"resources": resources, "serialization": serialization},
    }


def bundle_of(statement: Any, signer: Signer) -> dict[str, Any]:
    """*statement*, signed by *signer*, as a bundle."""
    payload = json.dumps(statement).encode()
    signature = signer.sign(pre_authentication("application/vnd.in-toto+json", payload))
    return {
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {"publicKey": {"hint": oms.hint(signer)}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": "application/vnd.in-toto+json",
            "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": ""}],
        },
    }


def text_of(statement: Any, signer: Signer) -> bytes:
    """The bundle as JSON text."""
    return json.dumps(bundle_of(statement, signer)).encode()


def upstream(*argv: object) -> subprocess.CompletedProcess[str]:
    """Run the command of the reference implementation."""
    return subprocess.run(
        [sys.executable, "-m", "model_signing", *map(str, argv)],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
