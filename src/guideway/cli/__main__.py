"""``python -m guideway.cli``."""

from guideway.cli import main

main()
