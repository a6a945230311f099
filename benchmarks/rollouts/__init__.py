"""Simulated rollouts: the traffic, the evidence as arrays, the rules of others, and the drawings."""
