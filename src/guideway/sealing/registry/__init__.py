"""Releases in any OCI registry: push, pull, and how one is reached."""

from guideway.sealing.registry.http import Access
from guideway.sealing.registry.pull import pull
from guideway.sealing.registry.push import push
from guideway.sealing.registry.reference import Reference, parse

__all__ = ["Access", "Reference", "parse", "pull", "push"]
