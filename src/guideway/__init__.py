"""Guideway: one standard way to production for large models."""

__version__ = "0.1.0"
