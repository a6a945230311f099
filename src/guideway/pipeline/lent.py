"""How stages name what they borrow. Apart from borrowing itself, which reads rows: a plan needs no database."""

from __future__ import annotations

SERVING = "serving"
"""What serves in the environment of the build; nothing at all where nothing does."""
WHOLE = "whole:"
"""Before the name of a release: all of it, and not the trained model."""
