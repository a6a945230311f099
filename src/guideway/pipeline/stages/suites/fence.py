"""The fence around templates of tasks: they read texts, numbers and lists of their row, and reach nothing else."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from typing import Any

from jinja2 import StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

_PLAIN = (str, bytes, bool, int, float, list, tuple, dict, set, frozenset, type(None), datetime.date, datetime.time)
"""What a row is made of. Whatever else stands in one may do things: an image of a row can be saved to a file."""
_OF_TEMPLATES = ("jinja2.runtime", "jinja2.utils")
"""Where the objects come from that a template itself makes: loops, macros, name spaces."""


class Fence(ImmutableSandboxedEnvironment):
    """Jinja's sandbox that changes nothing, and looks into nothing but plain data. *filters* are allowed besides."""

    def __init__(self, filters: Mapping[str, Callable[..., Any]]) -> None:
        super().__init__(undefined=StrictUndefined, keep_trailing_newline=True)
        self.globals.pop("lipsum")
        self.filters.update(filters)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """May a template have *attr*, which is *value*, of *obj*?"""
        known = isinstance(obj, _PLAIN) or type(obj).__module__ in _OF_TEMPLATES
        return known and super().is_safe_attribute(obj, attr, value)
