"""Coil maps for training: as calibrated as a scan's, or as true as a simulation's."""

import torch
from torch.nn.functional import avg_pool2d, interpolate

from recon_core.calibration import calibration_block
from recon_core.coils.combine import rss
from recon_core.coils.compression import svd_compression
from recon_core.coils.espirit import espirit
from recon_core.coils.phase import reference_phase
from recon_core.errors import CalibrationError
from recon_core.fourier import resize

CALIBRATION_WIDTH = 24
SUPPORT = 0.08
"""Share of the largest blurred magnitude above which a pixel counts as object."""
BLUR = 8


def calibration_samples(kspace: torch.Tensor, sampled: torch.Tensor) -> torch.Tensor:
    """`(coil, 1, ky, kx)`: the sampled centre of `(coil, ky, kx)`, at most `CALIBRATION_WIDTH` wide.

    Nothing beyond what `sampled` holds is looked at: maps of fully sampled data would leak the answer.
    Raises CalibrationError where the centre is not sampled.
    """
    # Both axes may be phase encoding, of a slice across the readout: then columns have gaps too.
    block = calibration_block(sampled[..., None])
    if block is None:
        raise CalibrationError(
            "training: expected a sampled centre of k-space, got none; lower the acceleration"
        )
    centre = kspace[:, *block[:2]]
    return resize(centre, [min(n, CALIBRATION_WIDTH) for n in centre.shape[1:]])[:, None]


def estimated_maps(kspace: torch.Tensor, sampled: torch.Tensor) -> torch.Tensor:
    """`(2, coil, y, x)`: two sets of ESPIRiT maps of the sampled centre of `(coil, ky, kx)`.

    Zero where there is no signal; the second wherever one set explains all.

    Raises CalibrationError where the centre is too small.
    """
    shape = (1, sampled.shape[0], sampled.shape[1])
    return espirit(calibration_samples(kspace, sampled), shape, n_maps=2).maps[:, :, 0]


def normalised_maps(sensitivities: torch.Tensor, calibration: torch.Tensor) -> torch.Tensor:
    """`(coil, y, x)`: sensitivities over their root sum of squares, with the phase that ESPIRiT gives."""
    norm = rss(sensitivities, -3)
    maps = sensitivities / norm.where(norm > 0, 1.0)
    return reference_phase(maps[:, None], svd_compression(calibration, 1)[0])[:, 0]


def support(magnitude: torch.Tensor) -> torch.Tensor:
    """`(y, x)` boolean: where there is object, generously."""
    shape = magnitude.shape
    blurred = avg_pool2d(magnitude[None, None], BLUR, ceil_mode=True)
    smooth = interpolate(blurred, shape, mode="bilinear", align_corners=False)[0, 0]
    return smooth > SUPPORT * smooth.max()
