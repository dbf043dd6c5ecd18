"""A simulated scan of the head phantom along any trajectory."""

import math
from dataclasses import dataclass

import torch

from recon_core.errors import InputError
from recon_core.fourier import ifft
from recon_core.nufft import Nufft
from recon_core.simulate import FINER, complex_normal, cropped_fft, head_object, loop_coil_maps, noise_mixing

N_NOISE_SAMPLES = 4096


@dataclass(frozen=True, eq=False, kw_only=True)
class OffGridScan:
    """What the scanner saw, and the truth behind it. complex64."""

    kspace: torch.Tensor
    """`(coil, readout, sample)`, noise included."""
    trajectory: torch.Tensor
    """`(readout, sample, 2)` float32, (kx, ky) in cycles per field of view."""
    noise: torch.Tensor
    """`(coil, sample)`: a noise scan."""
    covariance: torch.Tensor
    """`(coil, coil)` of the noise in both."""
    coil_maps: torch.Tensor
    """`(coil, 1, y, x)`, root sum of squares one."""
    ground_truth: torch.Tensor
    """`(1, y, x)`: of the head's k-space the disc that the trajectory can reach, not its corners."""


def simulate_off_grid(
    trajectory: torch.Tensor, matrix: int, n_coils: int = 16, *, snr: float = 40.0, seed: int = 0
) -> OffGridScan:
    """One axial slice: y = F(S·ρ) + n, F the non-uniform transform of a grid `simulate.FINER` times as fine.

    Args:
        trajectory: `(readout, sample, 2)`, cycles per field of view, `phantom.FOV_MM`.
        matrix: of the reconstruction.
        n_coils: in two rings around the head.
        snr: mean signal of the head over the noise of a fully sampled, noise-optimal coil combination.
        seed: of noise and noise covariance.

    Raises:
        InputError: a count is below one, or `snr` is not positive.
    """
    if min(matrix, n_coils) < 1 or not snr > 0:
        raise InputError(
            "simulate_off_grid: expected a matrix and coils of at least one and a positive snr, "
            f"got {matrix}, {n_coils} and {snr}"
        )
    n = FINER * matrix
    head, maps = head_object((n, n)), loop_coil_maps(n_coils, (n, n))
    nufft_op = Nufft(trajectory, (1, n, n))
    # One coil after the other: all of them on the fine grid take gigabytes.
    kspace = torch.stack([nufft_op((head * coil_map)[None]) for coil_map in maps]) / FINER

    k = torch.arange(matrix) - matrix // 2
    reached = k[:, None].square() + k.square() <= (matrix // 2) ** 2
    truth = ifft((cropped_fft(head, matrix, matrix, 1) * reached)[None])
    generator = torch.Generator().manual_seed(seed)
    signal = truth.abs()[truth.abs() > 0.05].mean()
    mixing = noise_mixing(n_coils, generator) * (signal / snr)
    noise = mixing @ complex_normal((n_coils, math.prod(kspace.shape[1:])), generator)
    return OffGridScan(
        kspace=kspace + noise.view_as(kspace),
        trajectory=trajectory.float(),
        noise=mixing @ complex_normal((n_coils, N_NOISE_SAMPLES), generator),
        covariance=mixing @ mixing.mH,
        coil_maps=loop_coil_maps(n_coils, (matrix, matrix))[:, None],
        ground_truth=truth,
    )
