"""The reconstruction that fits the sampling seen."""

from collections.abc import Iterable, Iterator

from gadgets.coil_maps import CoilMaps, known_maps, with_coil_maps
from gadgets.fourier_reconstruction import fourier_image, undersampling_note
from gadgets.gadget import Context, Gadget
from gadgets.grappa import Grappa, grappa_image, known_weights
from gadgets.records import ImageSeries, KSpace
from gadgets.wavelet_sense import WaveletSense, wavelet_reconstruction
from recon_core.errors import CalibrationError
from recon_core.lattice import regular_acceleration


class AutoReconstruction(Gadget, frozen=True):
    """Choose the reconstruction of each k-space from the lines that were sampled.

    Full sampling (a partial outline, too): Fourier transform. Every R-th line: GRAPPA. Irregular sampling:
    wavelet SENSE with ESPIRiT maps. Too little to calibrate from: zero-filled Fourier transform, and the
    notes say so. The choice is in the images' meta.
    """

    accepts = KSpace
    emits = ImageSeries

    def __call__(self, items: Iterable[KSpace], context: Context) -> Iterator[ImageSeries]:
        weights, maps = known_weights(Grappa(), context), known_maps(CoilMaps(), context)
        for kspace in items:
            acceleration = regular_acceleration(kspace.sampled.any(-1))
            try:
                if acceleration is None:
                    calibrated = with_coil_maps(kspace, CoilMaps(), maps)
                    yield wavelet_reconstruction(calibrated, WaveletSense())
                else:
                    yield grappa_image(kspace, Grappa(), weights)
            except CalibrationError as error:
                note = f"{undersampling_note(kspace)} ({error})"
                context.logger.warning(note)
                yield fourier_image(kspace, "low_resolution", note)
