"""Compressed sensing with coil maps."""

from collections.abc import Iterable, Iterator
from typing import Literal

from gadgets.calibration import noise_level
from gadgets.gadget import Context, Gadget
from gadgets.reconstructed import reconstructed
from gadgets.records import AnyCalibratedKSpace, ImageSeries
from gadgets.sense import one_image, single_set
from recon_core.sense import wavelet_sense


class WaveletSense(Gadget, frozen=True):
    """SENSE with sparse wavelet coefficients, for irregular sampling; images of several sets of maps
    become one.

    Lustig et al. 2007, doi:10.1002/mrm.21391.
    """

    accepts = AnyCalibratedKSpace
    emits = ImageSeries

    n_iterations: int = 50
    """Iterations of FISTA."""
    regularisation: float | None = None
    """Weight of the wavelet coefficients, relative to the brightest sample of the zero-filled image; if not
    given, by the noise level of the data (0.002 off the Cartesian grid)."""
    backend: Literal["torch", "sigpy"] = "torch"
    """`sigpy` runs SigPy's L1WaveletRecon as a reference."""

    def __call__(self, items: Iterable[AnyCalibratedKSpace], context: Context) -> Iterator[ImageSeries]:
        for kspace in items:
            yield wavelet_reconstruction(kspace, self)


def wavelet_reconstruction(kspace: AnyCalibratedKSpace, gadget: WaveletSense) -> ImageSeries:
    """The image with the gadget's parameters."""
    image = wavelet_sense(
        kspace.data,
        single_set(kspace.coil_maps),
        kspace.sampling,
        n_iterations=gadget.n_iterations,
        regularisation=gadget.regularisation,
        noise_std=noise_level(kspace) if gadget.regularisation is None else None,
        backend=gadget.backend,
    )
    return reconstructed(kspace, one_image(image), "wavelet SENSE")
