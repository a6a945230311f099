"""Pack, seal, admit, verify: the release as one digest, and what it takes to pass."""
