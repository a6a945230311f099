"""Drills: faults and orders done for real in one environment, under a small load, with signed evidence of the end."""
