"""Asymmetric echoes and partial Fourier."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Literal

import torch

from gadgets.gadget import Context, Gadget
from gadgets.records import ImageSeries
from recon_core.fourier import fft, ifft
from recon_core.partial_fourier import homodyne, pocs

Method = Literal["zero_fill", "homodyne", "pocs"]
_METHODS = {"homodyne": homodyne, "pocs": pocs}
_AXES = {-3: "kz", -2: "ky", -1: "kx"}


class PartialFourier(Gadget, frozen=True):
    """Complete images whose k-space was acquired further to one side of the centre than to the other.

    Works on the complex image, after any reconstruction: aliased coil images have no conjugate symmetry. An
    axis counts as partial when its shorter side has less than `symmetric` of the longer one's samples. Real
    images pass as they are.
    """

    accepts = ImageSeries
    emits = ImageSeries

    method: Method = "pocs"
    """`pocs` (iterative, keeps what was acquired), `homodyne` (loses fine phase) or `zero_fill` (nothing)."""
    symmetric: float = 0.9
    """Ratio of the sides from which an axis is taken as symmetric."""

    def __call__(self, items: Iterable[ImageSeries], context: Context) -> Iterator[ImageSeries]:
        for series in items:
            axes = _partial_axes(series, self.symmetric)
            if self.method == "zero_fill" or not axes or not series.data.is_complex():
                yield series
            else:
                yield self._completed(series, axes)

    def _completed(self, series: ImageSeries, axes: list[int]) -> ImageSeries:
        kspace = fft(series.data)
        for axis in axes:
            kspace = _METHODS[self.method](kspace, _sampled(series, axis), axis)
        done = f"{self.method} along {', '.join(_AXES[axis] for axis in axes)}"
        meta = {**series.meta, "Reconstream.PartialFourier": done}
        return replace(series, data=ifft(kspace), meta=meta, acquired=None)


def _partial_axes(series: ImageSeries, symmetric: float) -> list[int]:
    axes = []
    for axis in _AXES:
        run = series.acquired[axis] if series.acquired else slice(0, 0)
        centre = series.data.shape[axis] // 2
        before, after = centre - run.start, run.stop - 1 - centre
        # Without any samples beyond the centre there is no phase to go by.
        if min(before, after) >= 1 and min(before, after) < symmetric * max(before, after) - 1:
            axes.append(axis)
    return axes


def _sampled(series: ImageSeries, axis: int) -> torch.Tensor:
    assert series.acquired is not None
    sampled = torch.zeros(series.data.shape[axis], dtype=torch.bool, device=series.data.device)
    sampled[series.acquired[axis]] = True
    return sampled
