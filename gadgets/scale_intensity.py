"""Pixel values in a range that viewers and integer formats can hold."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Literal, NamedTuple

import ismrmrd
import torch

from gadgets.gadget import Context, Gadget
from gadgets.quantitative import is_quantitative
from gadgets.records import ImageSeries
from recon_core.errors import InputError

Number = Literal["float32", "uint16", "int16"]
_DTYPES = {"float32": torch.float32, "uint16": torch.uint16, "int16": torch.int16}
_RANGES = {"float32": (-float("inf"), float("inf")), "uint16": (0.0, 65535.0), "int16": (-32768.0, 32767.0)}


class _Scale(NamedTuple):
    slope: float
    intercept: float


class ScaleIntensity(Gadget, frozen=True):
    """Scale real images, ``pixel = slope * value + intercept``, to numbers of the type wanted.

    The scale is found on the first image of each series and kept for the others, so that intensities compare
    and no image has to wait. The way back is in the meta as RescaleSlope and RescaleIntercept. Phases span
    -pi to pi over 0 to `target`; signed images sent unsigned have zero at half of `target`. What is out of
    range is clipped. Quantitative maps pass: their values are measurements.

    Raises InputError for complex images.
    """

    accepts = ImageSeries
    emits = ImageSeries

    target: float = 2048.0
    """The pixel value that the reference value becomes."""
    percentile: float = 99.9
    """The reference value: this percentile of the first image's absolute values; 100 for its maximum."""
    factor: float | None = None
    """A constant slope instead."""
    number: Number = "uint16"
    """Type of the pixels. Gadgetron's own image reader knows no int16."""

    def __call__(self, items: Iterable[ImageSeries], context: Context) -> Iterator[ImageSeries]:
        scales: dict[tuple[int, int], _Scale] = {}
        for series in items:
            if is_quantitative(series):
                yield series
                continue
            if series.data.is_complex():
                raise InputError(
                    "ScaleIntensity: expected real images, got complex ones; put ImageType in front"
                )
            kind = series.series_index, series.image_type
            if kind not in scales:
                scales[kind] = self._scale(series)
            yield self._scaled(series, scales[kind])

    def _scale(self, series: ImageSeries) -> _Scale:
        is_unsigned = self.number == "uint16"
        if series.image_type == ismrmrd.IMTYPE_PHASE and self.factor is None:
            return _Scale(self.target / (2 * torch.pi), self.target / 2 if is_unsigned else 0.0)
        is_signed = series.image_type in (ismrmrd.IMTYPE_REAL, ismrmrd.IMTYPE_IMAG, ismrmrd.IMTYPE_PHASE)
        folded = 0.5 if is_signed and is_unsigned else 1.0
        slope = self.factor
        if slope is None:
            reference = percentile(series.data.abs(), self.percentile)
            slope = folded * self.target / reference if reference > 0 else 1.0
        return _Scale(slope, 0.0 if folded == 1.0 else self.target / 2)

    def _scaled(self, series: ImageSeries, scale: _Scale) -> ImageSeries:
        pixels = series.data * scale.slope + scale.intercept
        if self.number != "float32":
            pixels = pixels.round().clamp(*_RANGES[self.number])
        rescale = {
            "RescaleSlope": f"{1 / scale.slope:.9g}",
            "RescaleIntercept": f"{-scale.intercept / scale.slope:.9g}",
        }
        return replace(series, data=pixels.to(_DTYPES[self.number]), meta={**series.meta, **rescale})


def percentile(values: torch.Tensor, percent: float) -> float:
    """The value below which `percent` of all values lie, one of them."""
    flat = values.flatten().float()
    rank = max(1, min(len(flat), round(percent / 100 * len(flat))))
    return float(flat.kthvalue(rank).values)
