"""Partial Fourier: k-space acquired past its centre on one side only, completed by conjugate symmetry.

An image of smooth phase φ has x·e^(−iφ) real, so one half of k-space determines the other. φ is taken
from the band that is sampled on both sides of the centre. Every coil is completed for itself, with its
own phase, out to the frequency the longer side reaches; beyond it, k-space stays zero.
"""

from typing import NamedTuple

import torch

from recon_core.errors import InputError
from recon_core.fourier import SPATIAL_AXES, fft, ifft


def zero_fill(kspace: torch.Tensor, sampled: torch.Tensor, axis: int) -> torch.Tensor:
    """k-space with everything that was not sampled along `axis` set to zero.

    Args:
        kspace: (*batch, coil, kz, ky, kx), on the full grid.
        sampled: bool along `axis`, one run of samples across the centre n // 2.
        axis: −3 (kz), −2 (ky) or −1 (kx, an asymmetric echo).

    Raises:
        InputError: `sampled` does not fit the axis, has gaps, or does not reach past the centre.
    """
    _sides("zero_fill", kspace, sampled, axis)
    return kspace * _along(sampled, axis)


def homodyne(kspace: torch.Tensor, sampled: torch.Tensor, axis: int) -> torch.Tensor:
    """Homodyne detection: x = Re(F⁻¹(w·y)·e^(−iφ))·e^(iφ), returned as k-space.

    w adds up to two over every conjugate pair, with a linear ramp across the symmetric band. Noll et al.
    1991, doi:10.1109/42.79473. What was sampled to both sides alike is returned as it is.

    Arguments and errors as for `zero_fill`.
    """
    sides = _sides("homodyne", kspace, sampled, axis)
    acquired = kspace * _along(sampled, axis)
    if sides.is_symmetric:
        return acquired
    frequency = _frequency(kspace, axis)
    towards_longer = 1 if sides.after > sides.before else -1
    ramp = (1 + towards_longer * frequency / (sides.shorter + 1)).clamp(0, 2)
    phase = _smooth_phase(acquired, sides, axis)
    image = ifft(acquired * _along(ramp, axis))
    return fft((image * phase.conj()).real * phase) * _along(frequency.abs() <= sides.longer, axis)


def pocs(kspace: torch.Tensor, sampled: torch.Tensor, axis: int, n_iterations: int = 5) -> torch.Tensor:
    """Projection onto convex sets: in turn onto the images of phase φ and onto the samples acquired.

    x ← Re(x·e^(−iφ))·e^(iφ), then the acquired samples are put back; after Haacke et al. 1991,
    doi:10.1016/0022-2364(91)90253-P, who set the phase of |x| instead, which is not a convex set. Returned as
    k-space, its acquired samples unchanged. What was sampled to both sides alike is returned as it is.

    Arguments and errors as for `zero_fill`; few iterations suffice, many fit noise.
    """
    sides = _sides("pocs", kspace, sampled, axis)
    acquired = kspace * _along(sampled, axis)
    if sides.is_symmetric:
        return acquired
    phase = _smooth_phase(acquired, sides, axis)
    within, kept = (_along(mask, axis) for mask in (_frequency(kspace, axis).abs() <= sides.longer, sampled))
    # Only `axis` is sampled in part: the other axes stay in image space throughout.
    others = tuple(other for other in SPATIAL_AXES if other != axis)
    known = completed = ifft(acquired, others)
    for _ in range(n_iterations):
        image = ifft(completed, (axis,))
        image = (image * phase.conj()).real * phase
        completed = torch.where(kept, known, fft(image, (axis,)) * within)
    return torch.where(kept, kspace, fft(completed, others))


class _Sides(NamedTuple):
    """Samples acquired before and after the centre of the axis."""

    before: int
    after: int

    @property
    def shorter(self) -> int:
        return min(self)

    @property
    def longer(self) -> int:
        return max(self)

    @property
    def is_symmetric(self) -> bool:
        """An axis of even length has one more sample before its centre than after."""
        return self.before - 1 <= self.after <= self.before


def _sides(where: str, kspace: torch.Tensor, sampled: torch.Tensor, axis: int) -> _Sides:
    if kspace.ndim < 4 or axis not in SPATIAL_AXES or sampled.shape != (kspace.shape[axis],):
        raise InputError(
            f"{where}: expected k-space (*batch, coil, kz, ky, kx), an axis of -3, -2 or -1 and one bool for "
            f"each of its samples, got {tuple(kspace.shape)}, axis {axis} and {tuple(sampled.shape)}"
        )
    centre = len(sampled) // 2
    positions = torch.nonzero(sampled)[:, 0].tolist()
    if not positions or len(positions) != positions[-1] - positions[0] + 1:
        raise InputError(
            f"{where}: expected one run of samples, got {len(positions)} with gaps; fill the gaps first"
        )
    sides = _Sides(centre - positions[0], positions[-1] - centre)
    if sides.shorter < 1:
        raise InputError(
            f"{where}: expected samples on both sides of the centre {centre}, got {positions[0]} "
            f"to {positions[-1]}; without them the phase is unknown"
        )
    return sides


def _smooth_phase(acquired: torch.Tensor, sides: _Sides, axis: int) -> torch.Tensor:
    """e^(iφ) of the image of the symmetric band, Hann-apodised so that its edge does not ring."""
    distance = _frequency(acquired, axis).abs() / (sides.shorter + 1)
    window = torch.cos(0.5 * torch.pi * distance.clamp(max=1)).square()
    return torch.sgn(ifft(acquired * _along(window, axis)))


def _frequency(kspace: torch.Tensor, axis: int) -> torch.Tensor:
    n = kspace.shape[axis]
    return torch.arange(n, device=kspace.device, dtype=kspace.real.dtype) - n // 2


def _along(weights: torch.Tensor, axis: int) -> torch.Tensor:
    return weights.view(-1, *(1,) * (-1 - axis))
