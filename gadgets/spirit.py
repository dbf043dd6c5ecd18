"""SPIRiT."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch

from gadgets.calibration import PerSlice, calibration_of, is_silent
from gadgets.fourier_reconstruction import Combination, combined, fourier_image, undersampling_note
from gadgets.gadget import Context, Gadget
from gadgets.reconstructed import outline, reconstructed
from gadgets.records import ImageSeries, KSpace
from gadgets.results_of_study import ResultsOfStudy
from recon_core.coils.combine import sense_combine
from recon_core.coils.low_resolution import low_resolution_maps
from recon_core.coils.spirit_kernel import spirit_kernel
from recon_core.errors import InputError
from recon_core.fourier import ifft, resize
from recon_core.lattice import regular_acceleration
from recon_core.spirit import cg_spirit, l1_spirit

ACCELERATIONS, ITERATIONS = (2, 4, 6, 8, 10), (20, 30, 45, 65, 80)
"""Iterations of L1-SPIRiT at each acceleration, as Dar et al. 2020 took them, doi:10.1002/mrm.28148."""

N_FIRST = 10
"""Iterations of CG-SPIRiT before L1-SPIRiT, whose projections alone leave aliasing of every fourth line."""


class Spirit(Gadget, frozen=True):
    """Parallel imaging of slices sampled in any pattern: k-space that agrees with itself and with the data.

    With a wavelet threshold L1-SPIRiT, begun with CG-SPIRiT, else that alone; the coils are combined as in
    `Grappa`. Images of a slice share kernels as long as their calibration data stay the same. Fully sampled
    k-space is Fourier-transformed; outside the sampled outline k-space stays zero.

    Raises CalibrationError for too few calibration lines or too little regularisation, InputError for
    volumes.
    Lustig & Pauly 2010, doi:10.1002/mrm.22428.
    """

    accepts = KSpace
    emits = ImageSeries

    kernel_width: int = 7
    """Samples along ky and kx that each sample is calculated from, odd; 5 needs fewer calibration lines."""
    regularisation: float = 1e-2
    """Tikhonov weight of the calibration, relative to the normal matrix's norm over its size."""
    calibration_width: int = 64
    """Samples along kx of the calibration lines that kernels are fitted to."""
    l1: float = 2e-3
    """Wavelet threshold, relative to the brightest sample of the zero-filled coil images; 0 for CG-SPIRiT."""
    n_iterations: int | None = None
    """If not given 20 to 80 of L1-SPIRiT as the acceleration asks for, 15 of CG-SPIRiT."""
    combine: Combination = "low_resolution"
    """`low_resolution` or `adaptive` (complex), `rss` (root of the sum of squares, real) or `none`."""

    def __call__(self, items: Iterable[KSpace], context: Context) -> Iterator[ImageSeries]:
        known = PerSlice(
            ResultsOfStudy(
                context,
                "spirit_kernel",
                self,
                SpiritCalibration._asdict,
                lambda kept: SpiritCalibration(kept["kernel"], kept.get("coil_maps")),
            )
        )
        for kspace in items:
            yield spirit_image(kspace, self, known)


class SpiritCalibration(NamedTuple):
    """What is computed once for a slice."""

    kernel: torch.Tensor
    coil_maps: torch.Tensor | None
    """None for combinations that need none."""


def spirit_image(kspace: KSpace, gadget: Spirit, known: PerSlice[SpiritCalibration]) -> ImageSeries:
    """The image as `gadget` says, with the kernel `known` for its calibration data."""
    if regular_acceleration(kspace.sampled.any(-1)) == (1, 1) or is_silent(kspace):
        note = undersampling_note(kspace)
        return fourier_image(kspace, gadget.combine, *([note] if note else []))
    _, n_z, n_y, n_x = kspace.data.shape
    if n_z > 1:
        raise InputError(
            f"Spirit: expected slices, got a volume of {n_z} partitions; use the recipe cartesian_sense or "
            "cartesian_wavelet"
        )
    reference = calibration_of(kspace)

    def calibrate() -> SpiritCalibration:
        centre = resize(reference, (min(reference.shape[-1], gadget.calibration_width),))
        kernel = spirit_kernel(centre[:, 0], gadget.kernel_width, gadget.regularisation)
        if gadget.combine != "low_resolution":
            return SpiritCalibration(kernel, None)
        return SpiritCalibration(kernel, low_resolution_maps(reference, (n_z, n_y, n_x)))

    kernel, coil_maps = known.get(kspace, reference, calibrate, n_y, n_x)
    filled, method = _filled(kspace, reference, kernel, gadget)
    coil_images = ifft(filled)
    if coil_maps is None:
        image = combined(coil_images, gadget.combine)
    else:
        image = sense_combine(coil_images, coil_maps)[None]
    return reconstructed(kspace, image, f"{method}, calibrated on {tuple(reference.shape[2:])} samples")


def _filled(
    kspace: KSpace, reference: torch.Tensor, kernel: torch.Tensor, gadget: Spirit
) -> tuple[torch.Tensor, str]:
    """k-space `(coil, kz, ky, kx)` with its missing samples, and by which method."""
    where = outline(kspace.sampled)
    # Reference lines of their own are what the missing lines there will nearly be.
    guess = resize(reference, kspace.data.shape[-3:])
    start = torch.where(kspace.sampled, kspace.data, guess)
    slices = start.movedim(1, 0), kspace.sampled, kernel[None]
    if gadget.l1 > 0:
        acceleration = kspace.sampled[where].numel() / int(kspace.sampled.sum())
        n_iterations = gadget.n_iterations or round(float(np.interp(acceleration, ACCELERATIONS, ITERATIONS)))
        first = cg_spirit(*slices, n_iterations=N_FIRST)
        filled = l1_spirit(first, *slices[1:], n_iterations=n_iterations, regularisation=gadget.l1)
        method = f"L1-SPIRiT, {n_iterations} iterations"
    else:
        n_iterations = gadget.n_iterations or 15
        filled = cg_spirit(*slices, n_iterations=n_iterations)
        method = f"CG-SPIRiT, {n_iterations} iterations"
    inside = torch.zeros_like(kspace.sampled)
    inside[where] = True
    return filled.movedim(0, 1) * inside, method
