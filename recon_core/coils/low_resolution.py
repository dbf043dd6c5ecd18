"""Coil maps good enough to combine coil images with, at a hundredth of the cost of calibrated ones."""

import math

import torch

from recon_core.coils.combine import rss
from recon_core.coils.compression import svd_compression
from recon_core.coils.phase import reference_phase
from recon_core.fourier import ifft, resize

N_SAMPLES = 32
"""Central samples of k-space used along each axis."""


def low_resolution_maps(calibration: torch.Tensor, shape: tuple[int, int, int]) -> torch.Tensor:
    """Relative coil maps s = x / |x| of coil images x made of the Hann-apodised centre of k-space.

    Their phase is that of the first principal coil, as in `reference_phase`, so that an image combined with
    them keeps the object's phase.

    Args:
        calibration: (coil, kz, ky, kx), fully sampled, its middle n // 2 the centre of k-space.
        shape: (z, y, x) of the maps.

    Returns:
        (coil, z, y, x), of unit norm over coils.

    Raises:
        CalibrationError: zero or non-finite data.

    McKenzie et al. 2002, doi:10.1002/mrm.10087.
    """
    images, principal = _low_resolution_images(calibration, shape)
    norm = rss(images)
    return reference_phase(images / norm.where(norm > 0, 1.0), principal)


def low_resolution_combine(images: torch.Tensor, calibration: torch.Tensor) -> torch.Tensor:
    """Coil images x combined with `low_resolution_maps` s: sum_c conj(s_c) x_c.

    The maps themselves are never made: their norm and phase are applied to the one combined image.

    images: (coil, z, y, x); calibration: as for the maps. Returns (z, y, x). Raises as that does.
    """
    z, y, x = images.shape[1:]
    weights, principal = _low_resolution_images(calibration, (z, y, x))
    norm = rss(weights)
    phase = torch.sgn(torch.einsum("c,czyx->zyx", principal, weights))
    matched: torch.Tensor = torch.linalg.vecdot(weights, images, dim=0)
    return matched.mul_(phase.where(phase != 0, 1.0)).div_(norm.where(norm > 0, 1.0))


def _low_resolution_images(
    calibration: torch.Tensor, shape: tuple[int, int, int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Coil images (coil, z, y, x), and the weights (coil,) of the first principal coil."""
    centre = resize(calibration, [min(n, N_SAMPLES) for n in calibration.shape[1:]])
    principal = svd_compression(centre, 1)[0]
    images = centre
    for axis in (-3, -2, -1):  # one after the other, so that few lines along the others are transformed
        images = images * _hann(images, axis)
        wanted = list(images.shape[1:])
        wanted[axis] = shape[axis]
        images = ifft(resize(images, wanted), (axis,))
    return images, principal


def _hann(array: torch.Tensor, axis: int) -> torch.Tensor:
    """A window along one axis that is 1 in its centre n // 2 and not quite 0 at its ends."""
    n = array.shape[axis]
    position = torch.arange(n, device=array.device, dtype=array.real.dtype) - n // 2
    return torch.cos(math.pi * position / (n + 1)).square().view(-1, *(1,) * (-1 - axis))
