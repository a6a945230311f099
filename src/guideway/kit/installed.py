"""Installed distributions by name and version, read from the head of their METADATA alone."""

from __future__ import annotations

import re
from functools import cache
from importlib import metadata

_FIELD = re.compile(r"^(Name|Version): *(.*?)\s*$", re.MULTILINE)


def name_and_version(distribution: metadata.Distribution) -> tuple[str, str]:
    """Its plain name and its version: parsing all of METADATA for every distribution takes half a second."""
    head = (distribution.read_text("METADATA") or "").partition("\n\n")[0]
    found = dict(_FIELD.findall(head))
    return normal_name(found.get("Name", "")), found.get("Version", "").strip()


@cache
def version_of(name: str) -> str | None:
    """The version of the distribution called *name*; None when it is not installed."""
    try:
        return name_and_version(metadata.distribution(name))[1] or None
    except metadata.PackageNotFoundError:
        return None


def normal_name(name: str) -> str:
    """The normal form of a distribution's name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()
