"""How far a text is from all that a model learnt, by what the model makes of it: Mahalanobis distance to a class.

After Lee et al. 2018, "A Simple Unified Framework for Detecting Out-of-Distribution Samples and Adversarial Attacks".
What share of ordinary texts is as far is read off texts that were held out (a conformal p-value).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from guideway.core.errors import SpecError

FILE = "meaning.safetensors"
_FORMAT = "guideway.meaning.v1"
_PARTS = {"calibration": (1, np.float64), "centres": (2, np.float32), "whitening": (2, np.float32)}
"""Tensors of the file: how many dimensions each has, and its type."""

Features = NDArray[np.float32]
"""What a model makes of texts before it names a class: [rows, width]."""


class Meaning:
    """What was learnt.

    Args:
        whitening: [width, width], by which features are multiplied, so that those of a class spread alike.
        centres: [classes, width], the middle of each class after that.
        calibration: [n], the distances of held-out texts, in rising order.
    """

    def __init__(self, whitening: Features, centres: Features, calibration: NDArray[np.float64]) -> None:
        self._whitening, self._centres, self._calibration = whitening, centres, calibration
        self._by, self._middle = whitening.astype(np.float64), centres.astype(np.float64)

    @property
    def width(self) -> int:
        """How many features a text has."""
        return len(self._whitening)

    def distances(self, features: Features) -> NDArray[np.float64]:
        """How far each row [rows, width] is from the class that is nearest: 0 or more [rows]."""
        with np.errstate(invalid="ignore"):
            moved = features.astype(np.float64) @ self._by
            apart = [np.square(self._middle - row).sum(axis=1).min() for row in moved]
        return np.sqrt(np.array(apart, np.float64))

    def shares(self, features: Features) -> NDArray[np.float64]:
        """The share of ordinary texts that are at least as far, the text itself counted among them: in (0, 1] [rows].

        What is no number is as far as can be.
        """
        held, far = self._calibration, np.nan_to_num(self.distances(features), nan=np.inf)
        return np.asarray((1 + len(held) - np.searchsorted(held, far)) / (len(held) + 1))

    def calibrated(self, held: Features) -> Meaning:
        """The same, with the distances of the held-out texts *held* [n, width]."""
        return Meaning(self._whitening, self._centres, np.sort(self.distances(held)))

    def write(self, folder: Path) -> None:
        """Write the file into *folder*: the same bytes for the same numbers."""
        parts = {"calibration": self._calibration, "centres": self._centres, "whitening": self._whitening}
        whole = {name: np.ascontiguousarray(part, _PARTS[name][1]) for name, part in parts.items()}
        (folder / FILE).write_bytes(save(whole, {"format": _FORMAT}))


def read_meaning(folder: Path) -> Meaning:
    """What was learnt, from the file in *folder*.

    Raises:
        SpecError: it is not one, or not whole.
    """
    path = folder / FILE
    try:
        parts = load(path.read_bytes())
    except (SafetensorError, ValueError) as error:
        raise SpecError(f"cannot be read: {error}", where=str(path)) from None
    if not _is_whole(parts):
        raise SpecError("the file that tells outliers by meaning is not whole", where=str(path))
    return Meaning(parts["whitening"], parts["centres"], parts["calibration"])


def _is_whole(parts: dict[str, NDArray[np.generic]]) -> bool:
    if parts.keys() != _PARTS.keys():
        return False
    if any((parts[name].ndim, parts[name].dtype) != (ndim, np.dtype(kind)) for name, (ndim, kind) in _PARTS.items()):
        return False
    wide, held = parts["centres"].shape[1], parts["calibration"]
    shaped = parts["whitening"].shape == (wide, wide) and len(parts["centres"]) > 0
    finite = all(bool(np.isfinite(part).all()) for part in parts.values())
    return shaped and finite and bool((np.diff(held) >= 0).all())
