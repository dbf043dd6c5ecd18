"""Non-Cartesian scans of the head phantom whose samples and truth are exact: no grid, no inverse crime."""

import math
from dataclasses import dataclass
from itertools import product

import torch

from recon_core.fourier import ifft
from recon_core.phantom import head_kspace, head_samples
from recon_core.trajectories import directions, golden_angle, radial, rotated, spiral_arm

HARMONICS = [(0.5 * m, 0.5 * n) for m, n in product((-1, 0, 1), repeat=2)]
"""Spatial frequencies (kx, ky) in cycles per field of view that coil maps are made of."""


@dataclass(frozen=True)
class ExactScan:
    """What coils with maps of a few harmonics see of the head, and the truth."""

    kspace: torch.Tensor
    """(coil, readout, sample) complex64."""
    trajectory: torch.Tensor
    """(readout, sample, 2) float32."""
    coil_maps: torch.Tensor
    """(coil, 1, y, x), root sum of squares near one."""
    truth: torch.Tensor
    """(1, y, x): the object's own k-space cropped to the matrix."""


def exact_scan(trajectory: torch.Tensor, n: int, n_coils: int = 4, noise_std: float = 0.0) -> ExactScan:
    """Sample the head in a matrix of n x n: a map Σ a_q e^{2πi q·r} moves k-space, y(k) = Σ a_q ρ(k − q)."""
    amplitudes = _amplitudes(n_coils)
    samples = torch.stack([head_samples(trajectory - torch.tensor(q), (n, n)) for q in HARMONICS])
    kspace = torch.einsum("cq,qrs->crs", amplitudes, samples).to(torch.complex64)
    generator = torch.Generator().manual_seed(0)
    kspace += noise_std * torch.randn(kspace.shape, dtype=torch.complex64, generator=generator)
    position = (torch.arange(n, dtype=torch.float64) - n // 2) / n
    waves = torch.stack(
        [torch.exp(2j * math.pi * (x * position[None, :] + y * position[:, None])) for x, y in HARMONICS]
    )
    coil_maps = torch.einsum("cq,qyx->cyx", amplitudes, waves).to(torch.complex64)
    truth = ifft(head_kspace((n, n))[None]).to(torch.complex64)
    return ExactScan(kspace, trajectory.float(), coil_maps[:, None], truth)


def golden_spokes(n: int, n_spokes: int) -> torch.Tensor:
    """Spokes oversampled twice."""
    angles = torch.arange(n_spokes, dtype=torch.float64) * golden_angle()
    return radial(directions(angles), 2 * n, spacing=0.5)


def spiral_arms(n: int, n_arms: int, undersampling: float = 1.0) -> torch.Tensor:
    """Uniform-density spirals of a 240 mm field of view."""
    arm = spiral_arm(
        (240.0 / undersampling,),
        n_arms,
        max_k_per_mm=n / 2 / 240,
        max_gradient_mt_per_m=30,
        max_slew_t_per_m_per_s=150,
        dwell_time_us=4,
    )
    return rotated(240 * arm, torch.arange(n_arms, dtype=torch.float64) * 2 * math.pi / n_arms)


def _amplitudes(n_coils: int) -> torch.Tensor:
    """(coil, harmonic): coil c looks towards its own side, falling off smoothly."""
    angles = 2 * math.pi * torch.arange(n_coils, dtype=torch.float64) / n_coils
    x, y = torch.tensor(HARMONICS, dtype=torch.float64).T
    inward = torch.cos(angles)[:, None] * x + torch.sin(angles)[:, None] * y
    amplitudes = torch.exp(-2 * (x.square() + y.square())) * torch.exp(0.9j * math.pi * inward)
    return amplitudes / amplitudes.abs().square().sum(1, keepdim=True).sqrt() / math.sqrt(n_coils)
