"""Images of fully sampled, or zero-filled, k-space."""

from collections.abc import Iterable, Iterator
from typing import Literal

import torch

from gadgets.calibration import calibration_of, is_silent
from gadgets.gadget import Context, Gadget
from gadgets.reconstructed import reconstructed
from gadgets.records import ImageSeries, KSpace
from recon_core.coils.combine import adaptive_combine, rss
from recon_core.coils.low_resolution import low_resolution_combine
from recon_core.fourier import ifft
from recon_core.lattice import regular_acceleration

Combination = Literal["low_resolution", "adaptive", "rss", "none"]


class FourierReconstruction(Gadget, frozen=True):
    """The inverse Fourier transform of each coil, then the coils combined into one image.

    `low_resolution` weights each coil by its low-resolution image of the calibration data (McKenzie et al.
    2002, doi:10.1002/mrm.10087), `adaptive` by the local covariance of the coils (Walsh et al. 2000,
    doi:10.1002/(SICI)1522-2594(200005)43:5<682::AID-MRM10>3.0.CO;2-G). Both keep the phase of the object.
    Undersampled data are zero-filled, which the images' notes say.
    """

    accepts = KSpace
    emits = ImageSeries

    combine: Combination = "low_resolution"
    """`low_resolution` or `adaptive` (complex), `rss` (root of the sum of squares, real) or `none`."""

    def __call__(self, items: Iterable[KSpace], context: Context) -> Iterator[ImageSeries]:
        for kspace in items:
            note = undersampling_note(kspace)
            if note:
                context.logger.warning(note)
            yield fourier_image(kspace, self.combine, *([note] if note else []))


def fourier_image(kspace: KSpace, combine: Combination, *notes: str) -> ImageSeries:
    """The image of a k-space taken as fully sampled."""
    coil_images = ifft(kspace.data)
    if combine in ("low_resolution", "adaptive") and is_silent(kspace):
        image = coil_images[:1]  # no signal to weight the coils by
    elif combine == "low_resolution" and len(coil_images) > 1:
        image = low_resolution_combine(coil_images, calibration_of(kspace))[None]
    else:
        image = combined(coil_images, combine)
    return reconstructed(kspace, image, "Fourier", *notes)


def combined(coil_images: torch.Tensor, combine: Combination) -> torch.Tensor:
    """`(channel, z, y, x)`: by what needs no calibration data; single coils pass as they are."""
    if combine == "rss":
        return rss(coil_images)[None]
    if combine == "adaptive" and len(coil_images) > 1:
        return adaptive_combine(coil_images)[None]
    return coil_images


def undersampling_note(kspace: KSpace) -> str:
    """What a reader must know of an image made without unfolding; empty for full sampling and silence."""
    acceleration = regular_acceleration(kspace.sampled.any(-1))
    if acceleration == (1, 1) or is_silent(kspace):
        return ""
    pattern = (
        "irregularly" if acceleration is None else f"{acceleration[0]} x {acceleration[1]} times (kz x ky)"
    )
    return f"undersampled {pattern} and zero-filled: expect aliasing"
