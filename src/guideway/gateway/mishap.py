"""Mistakes of our own on the way of a request: each is told once, by its type and its place, without any content."""

from __future__ import annotations

from pathlib import Path

from guideway.gateway.log import log


def tell(error: Exception, request: bytes = b"") -> None:
    """Write one line about *error*, which nobody foresaw; *request*: the id of the request that it ended."""
    log("unforeseen error", error=type(error).__name__, at=_place(error), request=request.decode())


def _place(error: Exception) -> str:
    """File and line where it came up."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace is not None else ""
