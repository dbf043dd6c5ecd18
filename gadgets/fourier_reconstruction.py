"""Images of fully sampled, or zero-filled, k-space."""

from collections.abc import Iterable, Iterator
from typing import Literal

import torch

from gadgets.gadget import Context, Gadget
from gadgets.reconstructed import reconstructed
from gadgets.records import ImageSeries, KSpace
from recon_core.coils.combine import adaptive_combine, rss
from recon_core.fourier import ifft

Combination = Literal["adaptive", "rss", "none"]


class FourierReconstruction(Gadget, frozen=True):
    """The inverse Fourier transform of each coil, then the coils combined into one image."""

    accepts = KSpace
    emits = ImageSeries

    combine: Combination = "adaptive"
    """`adaptive` (complex, Walsh et al. 2000), `rss` (root of the sum of squares, a magnitude) or `none`."""

    def __call__(self, items: Iterable[KSpace], context: Context) -> Iterator[ImageSeries]:
        for kspace in items:
            yield reconstructed(kspace, combined(ifft(kspace.data), self.combine))


def combined(coil_images: torch.Tensor, combine: Combination) -> torch.Tensor:
    """`(channel, z, y, x)` of coil images `(coil, z, y, x)`: one channel, or all when `none`."""
    if combine == "none":
        return coil_images
    if combine == "rss":
        return rss(coil_images)[None]
    return adaptive_combine(coil_images)[None]
