"""Guardrails at work: what of a request is refused, what is put before it, and what of an answer comes out."""

from guideway.gateway.guard.guard import AnswerGuard, Guard
from guideway.gateway.guard.outliers import Unusual
from guideway.gateway.guard.stream import Stop, TextStream

__all__ = ["AnswerGuard", "Guard", "Stop", "TextStream", "Unusual"]
