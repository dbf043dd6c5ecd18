"""SENSE."""

from collections.abc import Iterable, Iterator
from typing import Literal

import torch

from gadgets.gadget import Context, Gadget
from gadgets.reconstructed import reconstructed
from gadgets.records import AnyCalibratedKSpace, ImageSeries
from recon_core.coils.combine import combined_sets
from recon_core.sense import cg_sense


class Sense(Gadget, frozen=True):
    """Parallel imaging with coil maps by conjugate gradients; images of several sets of maps become one.

    Pruessmann et al. 2001, doi:10.1002/mrm.1241.
    """

    accepts = AnyCalibratedKSpace
    emits = ImageSeries

    n_iterations: int = 30
    """At most this many iterations."""
    regularisation: float = 0.0
    """Weight of the image's energy; the data term's eigenvalues lie between 0 and 1."""
    tolerance: float = 1e-3
    """Stop when the residual has fallen to this share of its first value."""
    backend: Literal["torch", "sigpy"] = "torch"
    """`sigpy` runs SigPy's SenseRecon as a reference."""

    def __call__(self, items: Iterable[AnyCalibratedKSpace], context: Context) -> Iterator[ImageSeries]:
        for kspace in items:
            image = cg_sense(
                kspace.data,
                single_set(kspace.coil_maps),
                kspace.sampling,
                n_iterations=self.n_iterations,
                regularisation=self.regularisation,
                tolerance=self.tolerance,
                backend=self.backend,
            )
            yield reconstructed(kspace, one_image(image), "SENSE")


def one_image(image: torch.Tensor) -> torch.Tensor:
    """`(channel, z, y, x)` with a single channel, of `([set,] z, y, x)`."""
    return combined_sets(image.reshape(-1, *image.shape[-3:]))[None]


def single_set(coil_maps: torch.Tensor) -> torch.Tensor:
    """Maps without their set axis where there is one set, as the reference backend wants them."""
    return coil_maps.squeeze(0)
