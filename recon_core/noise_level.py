"""The noise level of a k-space, from its own samples."""

import math

import torch

OUTER_SHARE = 0.15
"""The share of the samples, those farthest out, that the level is read from."""
QUANTILE = 0.1
"""Of their squared magnitudes: low, where least signal is."""


def estimated_noise_std(kspace: torch.Tensor, sampled: torch.Tensor) -> torch.Tensor:
    """Standard deviation of the complex noise of a sample, from the periphery of k-space.

    Far from the centre noise outweighs signal in many samples, if not in all, so that a low quantile q of
    |n|² tells: it is −σ² ln(1 − q) of circular normal noise. Signal that is left makes the level too large:
    it is an upper estimate for clean scans. Needs no noise scan, and counts averages and filters as they are
    in the data.

    Args:
        kspace: `(*batch, coil, ky, kx)` complex.
        sampled: `(*batch, ky, kx)` boolean. Sampled positions that are zero in all coils were filled in, by
            an interpolating scanner for instance, and do not count.

    Returns:
        `(*batch,)` root mean square of the coils' levels; zero where nothing was sampled.
    """
    n_y, n_x = sampled.shape[-2:]
    batch = sampled.shape[:-2]
    power = (kspace.real.square() + kspace.imag.square()).flatten(-2)
    measured = (sampled.flatten(-2) & (power.sum(-2) > 0)).reshape(-1, n_y * n_x)
    outward = torch.maximum(
        ((torch.arange(n_y, device=kspace.device) - n_y // 2).abs() / n_y)[:, None],
        ((torch.arange(n_x, device=kspace.device) - n_x // 2).abs() / n_x)[None, :],
    ).flatten()
    levels = [
        _level(of_slice[:, where], outward[where])
        for of_slice, where in zip(power.reshape(-1, *power.shape[-2:]), measured, strict=True)
    ]
    return torch.stack(levels).reshape(batch)


def _level(power: torch.Tensor, outward: torch.Tensor) -> torch.Tensor:
    """Of `(coil, sample)` squared magnitudes, `outward` from the centre."""
    if power.shape[1] == 0:
        return power.new_zeros(())
    n_inner = round((1 - OUTER_SHARE) * (len(outward) - 1))
    outer = outward >= outward.kthvalue(n_inner + 1).values
    rank = 1 + round(QUANTILE * (int(outer.sum()) - 1))
    return (power[:, outer].kthvalue(rank, dim=1).values / -math.log(1 - QUANTILE)).mean().sqrt()
