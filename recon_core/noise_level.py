"""The noise level of a k-space, from its own samples."""

import math

import torch

from recon_core.calibration import calibration_block
from recon_core.coils.espirit_kernels import lowest_of_noise, patch_spectrum
from recon_core.fourier import resize

PATCH_SAMPLES = 128
"""Samples of all coils, at least, of a patch of the calibration; enough for signal to leave some of them."""
LEAST_PATCH, MOST_PATCH = 4, 8
"""Samples along ky and kx that patches span."""
MOST_CALIBRATION = 24
"""Samples of the calibration looked at along each axis."""
OUTER_SHARE = 0.15
"""The share of the samples, those farthest out, that the level is read from."""
QUANTILE = 0.1
"""Of their squared magnitudes: low, where least signal is."""


def estimated_noise_std(
    kspace: torch.Tensor, sampled: torch.Tensor, calibration: torch.Tensor | None = None
) -> torch.Tensor:
    """Standard deviation of the complex noise of a sample.

    Of several coils from the null space of the calibration: patches of signal span few dimensions, and what
    is left in the others is noise, whatever the signal (`calibration_noise_std`). Of one coil, and without
    calibration, from the periphery of k-space (`periphery_noise_std`). Needs no noise scan, and counts
    averages and filters as they are in the data.

    Args:
        kspace: `(*batch, coil, ky, kx)` complex.
        sampled: `(*batch, ky, kx)` boolean.
        calibration: `(*batch, coil, ky, kx)`, a fully sampled block of the centre; if not given, that which
            `sampled` has.

    Returns:
        `(*batch,)` root mean square of the coils' levels; zero where nothing was sampled.
    """
    batch = sampled.shape[:-2]
    slices = kspace.reshape(-1, *kspace.shape[-3:])
    masks = sampled.reshape(-1, *sampled.shape[-2:])
    blocks = [None] * len(slices) if calibration is None else calibration.reshape(-1, *calibration.shape[-3:])
    levels = [
        _estimated(of_slice, mask, block) for of_slice, mask, block in zip(slices, masks, blocks, strict=True)
    ]
    return torch.stack(levels).reshape(batch)


def _estimated(kspace: torch.Tensor, sampled: torch.Tensor, calibration: torch.Tensor | None) -> torch.Tensor:
    if calibration is None and (block := calibration_block(sampled[..., None])) is not None:
        calibration = kspace[:, *block[:2]]
    if len(kspace) > 1 and calibration is not None and min(calibration.shape[1:]) >= 2 * LEAST_PATCH:
        return calibration_noise_std(calibration)
    return periphery_noise_std(kspace, sampled)


def calibration_noise_std(calibration: torch.Tensor) -> torch.Tensor:
    """The level at which the smallest singular values of the patches are those of noise alone.

    A tenth too high with eight coils and a fifth to a quarter with four: the least of all dimensions are
    compared with the least of those that signal leaves.

    Args:
        calibration: `(coil, ky, kx)`, fully sampled.
    """
    centre = resize(calibration, [min(n, MOST_CALIBRATION) for n in calibration.shape[1:]])[:, None]
    wanted = max(LEAST_PATCH, math.ceil((PATCH_SAMPLES / len(centre)) ** 0.5))
    width = min(wanted, MOST_PATCH, min(centre.shape[2:]) // 2)
    widths = (1, width, width)
    spectrum = patch_spectrum(centre, widths)
    level = spectrum[len(spectrum) // 10] / lowest_of_noise(tuple(centre.shape), widths)
    return level.to(calibration.real.dtype)


def periphery_noise_std(kspace: torch.Tensor, sampled: torch.Tensor) -> torch.Tensor:
    """The level in the periphery of `(coil, ky, kx)`.

    Far from the centre noise outweighs signal in many samples, if not in all, so that a low quantile q of
    |n|² tells: it is −σ² ln(1 − q) of circular normal noise. Signal that is left makes the level too large:
    it is an upper estimate for clean scans. Sampled positions that are zero in all coils were filled in, by
    an interpolating scanner for instance, and do not count.
    """
    n_y, n_x = sampled.shape
    power = (kspace.real.square() + kspace.imag.square()).flatten(-2)
    measured = sampled.flatten() & (power.sum(0) > 0)
    outward = torch.maximum(
        ((torch.arange(n_y, device=kspace.device) - n_y // 2).abs() / n_y)[:, None],
        ((torch.arange(n_x, device=kspace.device) - n_x // 2).abs() / n_x)[None, :],
    ).flatten()
    return _level(power[:, measured], outward[measured])


def _level(power: torch.Tensor, outward: torch.Tensor) -> torch.Tensor:
    """Of `(coil, sample)` squared magnitudes, `outward` from the centre."""
    if power.shape[1] == 0:
        return power.new_zeros(())
    n_inner = round((1 - OUTER_SHARE) * (len(outward) - 1))
    outer = outward >= outward.kthvalue(n_inner + 1).values
    rank = 1 + round(QUANTILE * (int(outer.sum()) - 1))
    return (power[:, outer].kthvalue(rank, dim=1).values / -math.log(1 - QUANTILE)).mean().sqrt()
