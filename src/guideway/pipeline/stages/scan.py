"""Scan: judge every file of what will be the release, and leave what was found as evidence. The gate decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from guideway.core.protocols import Job
from guideway.core.spec import Spec
from guideway.sealing.scanner import scan_folder

name = "scan"
needs = ("package",)
libraries = ("jinja2",)
code = ("guideway.sealing.scanner",)


def params(_spec: Spec) -> Mapping[str, Any]:
    """None: nobody can ask for a milder scan."""
    return {}


def sources(_spec: Spec, _root: Path) -> Sequence[Path]:
    """None: it reads the package only."""
    return ()


def run(job: Job) -> None:
    """Write ``report.json`` to ``job.out``: the format of every file, and each finding with its advice."""
    scan = scan_folder(
        job.inputs["package"], progress=lambda done, total: job.progress(done / 1e6, total / 1e6, "MB judged")
    )
    report = msgspec.json.format(msgspec.json.encode(scan, order="sorted"))
    (job.out / "report.json").write_bytes(report + b"\n")
    unsafe = len({one.path for one in scan.unsafe})
    job.measure("unsafe_files", unsafe, "files", about="package", n=scan.files)
    job.measure("secrets", len(scan.secrets), "findings", about="package", n=scan.files)
    if not scan.findings:
        job.fact(f"{scan.files} files, nothing unsafe, no secret")
        return
    more = f" and {len(scan.findings) - 1} more" if len(scan.findings) > 1 else ""
    job.fact(f"{scan.findings[0]}{more}")
