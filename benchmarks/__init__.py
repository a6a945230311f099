"""Measurements; each script writes one file in results/."""
