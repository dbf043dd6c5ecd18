"""Images as DICOM's classic objects hold them: 16-bit integers, and the way back to their values."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

_HEADROOM = 4
"""How much brighter than its first image a series can become before its scale has to change."""
_DECIMALS = 9
"""Significant digits that DICOM's decimal strings of 16 characters hold of any number."""

Array = npt.NDArray[Any]
Array16 = npt.NDArray[np.uint16] | npt.NDArray[np.int16]


@dataclass(frozen=True)
class StoredPixels:
    """``value = slope * pixels + intercept``."""

    pixels: Array16
    slope: float
    intercept: float


@dataclass(frozen=True)
class Window:
    """The values shown black and white."""

    center: float
    width: float


class PixelScale:
    """The scale of one series' images, found on the first one and kept, so that intensities compare.

    Integers of 16 bits are stored as they are. Others are divided by a slope that leaves room for images four
    times as bright as the first one; a brighter one doubles the slope until it fits: nothing is clipped. The
    largest error is half a slope: 1/32767 of the first image's peak, 1/16383 with negative values. Values
    that are no numbers become 0.
    """

    def __init__(self) -> None:
        self._slope: float | None = None

    def stored(self, values: Array, slope: float, intercept: float, is_signed: bool) -> StoredPixels:
        """The image whose values are ``slope * values + intercept``."""
        if values.dtype.kind in "iu" and (as_they_are := _as_16_bits(values)) is not None:
            return StoredPixels(as_they_are, slope, intercept)
        finite = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
        is_signed = is_signed or finite.min(initial=0.0) < 0
        limit = int(np.iinfo(np.int16 if is_signed else np.uint16).max)
        peak = float(np.abs(finite).max(initial=0.0))
        if self._slope is None:
            self._slope = _rounded(_HEADROOM * peak / limit) or 1.0
        while peak > limit * self._slope:
            self._slope *= 2
        scaled = np.rint(finite / self._slope)
        pixels: Array16 = scaled.astype(np.int16) if is_signed else scaled.astype(np.uint16)
        return StoredPixels(pixels, self._slope * slope, intercept)


def default_window(image: StoredPixels) -> Window:
    """From 0 to the 99.5th percentile of the magnitudes; symmetrical about 0 where values are negative."""
    values = image.slope * image.pixels.astype(np.float64) + image.intercept
    high = float(np.percentile(np.abs(values), 99.5)) or float(np.abs(values).max()) or 1.0
    return Window(0.0, 2 * high) if values.min() < 0 else Window(high / 2, high)


def _as_16_bits(values: Array) -> Array16 | None:
    low, high = int(values.min(initial=0)), int(values.max(initial=0))
    if low >= 0 and high <= np.iinfo(np.uint16).max:
        return values.astype(np.uint16)
    if low >= np.iinfo(np.int16).min and high <= np.iinfo(np.int16).max:
        return values.astype(np.int16)
    return None


def _rounded(slope: float) -> float:
    """A slope that its decimal string gives back exactly, rounded up so that the peak still fits."""
    return float(f"{slope * (1 + 10.0**-_DECIMALS):.{_DECIMALS}g}")
