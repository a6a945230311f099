"""Pack, seal, admit, verify: the release as one digest, and what it takes to pass."""

from guideway.sealing.admit import admit, check_admission
from guideway.sealing.seal import seal
from guideway.sealing.verify import verify, verify_folder

__all__ = ["admit", "check_admission", "seal", "verify", "verify_folder"]
