"""GRAPPA."""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import torch

from gadgets.calibration import PerSlice, calibration_of, is_silent
from gadgets.fourier_reconstruction import Combination, combined, fourier_image, undersampling_note
from gadgets.gadget import Context, Gadget
from gadgets.reconstructed import reconstructed
from gadgets.records import ImageSeries, KSpace
from gadgets.results_of_study import ResultsOfStudy
from recon_core.coils.combine import sense_combine
from recon_core.coils.low_resolution import low_resolution_maps
from recon_core.errors import InputError
from recon_core.fourier import ifft, resize
from recon_core.grappa import (
    GrappaWeights,
    apply_grappa,
    grappa_weights,
    measured_between,
    unmix,
    unmixing,
)
from recon_core.lattice import is_nearly_regular, regular_acceleration


class Grappa(Gadget, frozen=True):
    """Parallel imaging of regularly undersampled k-space, its missing lines calculated from their neighbours.

    Combined with `low_resolution` maps, weights and maps become one set of unmixing coefficients in image
    space; otherwise k-space is filled, then combined as in `FourierReconstruction`. Lines acquired between
    those of the pattern stay as they were measured, and are the sources of no others. Images of a slice share
    weights as long as their calibration data stay the same. Fully sampled k-space is Fourier-transformed.
    Lines missing from the header's pattern are zeros.

    Raises CalibrationError for too few calibration lines, InputError for irregular sampling.
    Griswold et al. 2002, doi:10.1002/mrm.10171; Breuer et al. 2009, doi:10.1002/mrm.22066.
    """

    accepts = KSpace
    emits = ImageSeries

    kernel: tuple[int, int, int] = (2, 4, 5)
    """Acquired lines along kz and ky, and samples along kx, that each missing sample is calculated from."""
    regularisation: float = 1e-4
    """Tikhonov weight, relative to the mean power of a calibration sample."""
    calibration_width: int = 64
    """Samples along kx of the calibration lines that weights are fitted to."""
    combine: Combination = "low_resolution"
    """`low_resolution` or `adaptive` (complex), `rss` (root of the sum of squares, real) or `none`."""

    def __call__(self, items: Iterable[KSpace], context: Context) -> Iterator[ImageSeries]:
        known = known_weights(self, context)
        for kspace in items:
            yield grappa_image(kspace, self, known)


class GrappaCalibration(NamedTuple):
    """What is computed once for a slice."""

    weights: GrappaWeights
    coil_maps: torch.Tensor | None
    """None for combinations that need none."""
    coefficients: torch.Tensor | None
    """Of unmixing; None where that would wrap around, and without maps."""


def known_weights(gadget: Grappa, context: Context) -> PerSlice[GrappaCalibration]:
    """Where a scan keeps the weights that are computed as `gadget` says."""

    def pack(result: GrappaCalibration) -> dict[str, torch.Tensor | None]:
        weights, coil_maps, coefficients = result
        acceleration = torch.tensor(weights.acceleration)
        return {
            "kernel": weights.kernel,
            "acceleration": acceleration,
            "coil_maps": coil_maps,
            "coefficients": coefficients,
        }

    def unpack(kept: Mapping[str, torch.Tensor]) -> GrappaCalibration:
        along_z, along_y = kept["acceleration"].tolist()
        weights = GrappaWeights(kept["kernel"], (along_z, along_y))
        return GrappaCalibration(weights, kept.get("coil_maps"), kept.get("coefficients"))

    return PerSlice(ResultsOfStudy(context, "grappa_weights", gadget, pack, unpack))


def grappa_image(kspace: KSpace, gadget: Grappa, known: PerSlice[GrappaCalibration]) -> ImageSeries:
    """The image as `gadget` says, with the weights `known` for its calibration data."""
    lines = kspace.sampled.any(-1)
    acceleration = regular_acceleration(lines) or _with_holes(kspace, lines)
    if acceleration == (1, 1) or is_silent(kspace):
        note = undersampling_note(kspace)
        return fourier_image(kspace, gadget.combine, *([note] if note else []))
    if acceleration is None:
        raise InputError(
            f"Grappa: expected every R-th line of k-space, got {int(lines.sum())} of {lines.numel()} lines "
            "at irregular distances; use the recipe cartesian_wavelet"
        )
    reference = calibration_of(kspace)
    _, n_z, n_y, n_x = kspace.data.shape
    # In image space the lattice wraps around, which it does smoothly only where it divides the matrix.
    wraps = n_z % acceleration[0] > 0 or n_y % acceleration[1] > 0

    def calibrate() -> GrappaCalibration:
        centre = resize(reference, (min(reference.shape[-1], gadget.calibration_width),))
        weights = grappa_weights(
            centre, acceleration, kernel=gadget.kernel, regularisation=gadget.regularisation
        )
        if gadget.combine != "low_resolution":
            return GrappaCalibration(weights, None, None)
        coil_maps = low_resolution_maps(reference, (n_z, n_y, n_x))
        return GrappaCalibration(weights, coil_maps, None if wraps else unmixing(weights, coil_maps))

    weights, coil_maps, coefficients = known.get(kspace, reference, calibrate, acceleration, n_z, n_y, n_x)
    if coil_maps is not None and coefficients is not None:
        image = unmix(coefficients, kspace.data, lines, acceleration)[None]
        missed = measured_between(weights, kspace.data, lines)
        if missed is not None:
            image += torch.linalg.vecdot(coil_maps, ifft(missed), dim=0)
    else:
        coil_images = ifft(apply_grappa(weights, kspace.data, lines))
        if coil_maps is None:
            image = combined(coil_images, gadget.combine)
        else:
            image = sense_combine(coil_images, coil_maps)[None]
    rates = f"{acceleration[0]} x {acceleration[1]} (kz x ky)"
    return reconstructed(kspace, image, f"GRAPPA {rates}, calibrated on {tuple(reference.shape[1:])} samples")


def _with_holes(kspace: KSpace, lines: torch.Tensor) -> tuple[int, int] | None:
    """The header's acceleration, where lines are missing from a pattern that is otherwise regular."""
    along_y, along_z = kspace.encoding.acceleration
    return (along_z, along_y) if is_nearly_regular(lines, (along_z, along_y)) else None
