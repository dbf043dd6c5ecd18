"""The reference lines of a scan, kept for the images they calibrate."""

from collections.abc import Container, Sequence
from typing import NamedTuple

import numpy as np
import torch

from gadgets.encoding import Encoding
from gadgets.kspace_buffer import KSpaceBuffer
from recon_core.calibration import calibration_block

Key = tuple[int, ...]
"""An image's counters in the order of `sort_by`, then its encoding space."""


class _Calibration(NamedTuple):
    data: torch.Tensor | None
    encoding: Encoding


class CalibrationLines:
    """Reference lines by image; an image without its own takes the latest of its slice."""

    def __init__(self, sort_by: Sequence[str]) -> None:
        self.begun: dict[Key, KSpaceBuffer] = {}
        self._ready: dict[Key, _Calibration] = {}
        self._slice = sort_by.index("slice") if "slice" in sort_by else None
        self._replaced = [i for i, counter in enumerate(sort_by) if counter in ("repetition", "average")]

    def take(self, key: Key, image: KSpaceBuffer, images_begun: Container[Key]) -> torch.Tensor | None:
        """The calibration data `(coil, kz, ky, kx)` for an image that is complete.

        Embedded reference lines of the image's own become lines of the image.
        """
        if key in self.begun:
            lines = self.begun.pop(key)
            _fill_holes(lines, image)
            if image.encoding.calibration_mode == "embedded":
                _embed(lines, image)
            self._keep(key, lines)
        else:
            for other in [other for other in self.begun if self._same_slice(other, key)]:
                if other not in images_begun:
                    self._keep(other, self.begun.pop(other))
        candidates = [other for other in self._ready if self._same_slice(other, key)]
        if not candidates:
            return None
        wanted = self._without_repetition(key)
        # The last of the best: dict order is the order of arrival.
        best = max(reversed(candidates), key=lambda other: _n_equal(other, wanted))
        data, encoding = self._ready[best]
        if data is not None and not _is_same_field_of_view(encoding, image.encoding):
            image.notes["reference lines not used: their field of view is not that of the image"] = None
            return None
        return data

    def _keep(self, key: Key, lines: KSpaceBuffer) -> None:
        kept = self._without_repetition(key)
        self._ready.pop(kept, None)
        self._ready[kept] = _Calibration(_fully_sampled(lines), lines.encoding)

    def _same_slice(self, key: Key, other: Key) -> bool:
        return self._slice is None or key[self._slice] == other[self._slice]

    def _without_repetition(self, key: Key) -> Key:
        return tuple(-1 if i in self._replaced else counter for i, counter in enumerate(key))


def _fill_holes(lines: KSpaceBuffer, image: KSpaceBuffer) -> None:
    """Fill holes in a block of reference lines with the image's own, where these were not flagged as both."""
    z, y = np.nonzero(lines.lines)
    inside = np.zeros_like(lines.lines)
    inside[z.min() : z.max() + 1, y.min() : y.max() + 1] = True
    holes = inside & image.lines & ~lines.lines
    if holes.any():
        lines.take_over(image, holes)


def _embed(lines: KSpaceBuffer, image: KSpaceBuffer) -> None:
    """Give an image the reference lines between its own, where they have the samples that its own have."""
    along_x = image.sampled.any((0, 1))
    between = ~image.lines & (lines.sampled == along_x).all(-1)
    if between.any():
        image.take_over(lines, between)


def _fully_sampled(lines: KSpaceBuffer) -> torch.Tensor | None:
    block = calibration_block(torch.from_numpy(lines.sampled))
    return None if block is None else lines.recombined(block).clone()  # the rest of the buffer can go


def _n_equal(key: Key, other: Key) -> int:
    return sum(a == b for a, b in zip(key, other, strict=True))


def _is_same_field_of_view(encoding: Encoding, other: Encoding) -> bool:
    """Whether the steps between samples agree along every axis that is encoded."""
    lengths = zip(encoding.encoded_fov_mm, other.encoded_fov_mm, encoding.encoded_matrix, strict=True)
    return all(n == 1 or abs(fov - wanted) <= 0.01 * wanted for fov, wanted, n in lengths)
