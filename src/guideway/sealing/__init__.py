"""Pack, seal, admit, verify: the release as one digest, and what it takes to pass."""

from guideway.sealing.admit import admit
from guideway.sealing.seal import seal
from guideway.sealing.verify import verify, verify_folder

__all__ = ["admit", "seal", "verify", "verify_folder"]
