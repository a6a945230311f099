"""Answers that must have a form: an automaton over bytes, and which tokens keep to it."""
