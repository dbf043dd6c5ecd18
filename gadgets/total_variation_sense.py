"""Compressed sensing with coil maps and total variation."""

from collections.abc import Iterable, Iterator
from typing import Literal

from gadgets.gadget import Context, Gadget
from gadgets.reconstructed import reconstructed
from gadgets.records import AnyCalibratedKSpace, ImageSeries
from gadgets.sense import one_image, single_set
from recon_core.sense import tv_sense


class TotalVariationSense(Gadget, frozen=True):
    """SENSE with few edges, for irregular sampling, few spokes above all; images of several sets of maps
    become one.

    Block et al. 2007, doi:10.1002/mrm.21236.
    """

    accepts = AnyCalibratedKSpace
    emits = ImageSeries

    n_iterations: int = 100
    """Iterations of the primal-dual method."""
    regularisation: float = 0.002
    """Weight of the total variation, relative to the brightest sample of the zero-filled image."""
    backend: Literal["torch", "sigpy"] = "torch"
    """`sigpy` runs SigPy's TotalVariationRecon as a reference."""

    def __call__(self, items: Iterable[AnyCalibratedKSpace], context: Context) -> Iterator[ImageSeries]:
        for kspace in items:
            image = tv_sense(
                kspace.data,
                single_set(kspace.coil_maps),
                kspace.sampling,
                n_iterations=self.n_iterations,
                regularisation=self.regularisation,
                backend=self.backend,
            )
            yield reconstructed(kspace, one_image(image), "total-variation SENSE")
