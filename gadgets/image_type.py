"""Which part of a complex image is shown."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Literal

import ismrmrd
import torch

from gadgets.gadget import Context, Gadget
from gadgets.quantitative import is_quantitative
from gadgets.records import ImageSeries
from recon_core.errors import InputError

Part = Literal["magnitude", "phase", "real", "imaginary", "complex"]

_MRD_TYPES: dict[Part, int] = {
    "magnitude": ismrmrd.IMTYPE_MAGNITUDE,
    "phase": ismrmrd.IMTYPE_PHASE,
    "real": ismrmrd.IMTYPE_REAL,
    "imaginary": ismrmrd.IMTYPE_IMAG,
    "complex": ismrmrd.IMTYPE_COMPLEX,
}


class ImageType(Gadget, frozen=True):
    """Take the magnitude, the phase in radians, the real or the imaginary part of complex images.

    A magnitude passes where magnitudes are wanted, and a quantitative map always; anything else of a real
    image is an InputError.
    """

    accepts = ImageSeries
    emits = ImageSeries

    part: Part = "magnitude"
    """`magnitude`, `phase`, `real`, `imaginary`, or `complex` (unchanged)."""

    def __call__(self, items: Iterable[ImageSeries], context: Context) -> Iterator[ImageSeries]:
        for series in items:
            if _MRD_TYPES[self.part] == series.image_type or is_quantitative(series):
                yield series
                continue
            if not series.data.is_complex():
                raise InputError(
                    f"ImageType: expected complex images to take the {self.part} of, got real ones; "
                    "combine coils with 'low_resolution' instead of 'rss', or put ImageType first"
                )
            yield replace(series, data=_part(series.data, self.part), image_type=_MRD_TYPES[self.part])


def _part(image: torch.Tensor, part: Part) -> torch.Tensor:
    if part == "magnitude":
        return image.abs()
    if part == "phase":
        return image.angle()
    if part == "real":
        return image.real.clone()
    if part == "imaginary":
        return image.imag.clone()
    return image
