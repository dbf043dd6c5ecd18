"""Images of fully sampled, or zero-filled, k-space."""

from collections.abc import Iterable, Iterator
from typing import Literal

import torch

from gadgets.calibration import calibration_of
from gadgets.gadget import Context, Gadget
from gadgets.reconstructed import reconstructed
from gadgets.records import ImageSeries, KSpace
from recon_core.coils.combine import rss, sense_combine
from recon_core.coils.low_resolution import low_resolution_maps
from recon_core.fourier import ifft
from recon_core.lattice import regular_acceleration

Combination = Literal["adaptive", "rss", "none"]


class FourierReconstruction(Gadget, frozen=True):
    """The inverse Fourier transform of each coil, then the coils combined into one image.

    Undersampled data are zero-filled, which the images' notes say.
    """

    accepts = KSpace
    emits = ImageSeries

    combine: Combination = "adaptive"
    """`adaptive` (complex, matched to coil maps), `rss` (root of the sum of squares, real) or `none`."""

    def __call__(self, items: Iterable[KSpace], context: Context) -> Iterator[ImageSeries]:
        for kspace in items:
            note = undersampling_note(kspace)
            if note:
                context.logger.warning(note)
            yield fourier_image(kspace, self.combine, *([note] if note else []))


def fourier_image(kspace: KSpace, combine: Combination, *notes: str) -> ImageSeries:
    """The image of a k-space taken as fully sampled."""
    coil_images = ifft(kspace.data)
    if combine == "adaptive" and not bool(kspace.data.any()):
        image = coil_images[:1]  # silence has no coils to calibrate
    elif combine == "adaptive" and len(coil_images) > 1:
        maps = low_resolution_maps(calibration_of(kspace), _shape(coil_images))
        image = sense_combine(coil_images, maps)[None]
    else:
        image = rss(coil_images)[None] if combine == "rss" else coil_images
    return reconstructed(kspace, image, "Fourier", *notes)


def undersampling_note(kspace: KSpace) -> str:
    """What a reader must know of an image that is made without unfolding; empty for full sampling."""
    acceleration = regular_acceleration(kspace.sampled.any(-1))
    if acceleration == (1, 1):
        return ""
    pattern = (
        "irregularly" if acceleration is None else f"{acceleration[0]} x {acceleration[1]} times (kz x ky)"
    )
    return f"undersampled {pattern} and zero-filled: expect aliasing"


def _shape(coil_images: torch.Tensor) -> tuple[int, int, int]:
    _, n_z, n_y, n_x = coil_images.shape
    return n_z, n_y, n_x
