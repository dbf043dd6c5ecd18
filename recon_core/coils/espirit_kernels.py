"""From calibration data to the coil covariance of every pixel: the k-space half of ESPIRiT.

Patches of k-space lie in a low-dimensional space with projector ``P = U U^H``. Where the coil vector of a
pixel x agrees with it, it is kept by ``G(x) = (1/K) sum_r u_r(x) u_r(x)^H``, u_r(x) being the Fourier series
of kernel r and K the samples of a patch. G is a trigonometric polynomial of degree k - 1 along each axis, so
that its values at 2k - 1 nodes hold all of it, and real Dirichlet weights give it anywhere else.
"""

import math
from functools import lru_cache
from typing import Literal

import torch

Threshold = float | Literal["auto"]
Widths = tuple[int, int, int]

LEAST_THRESHOLD = 0.02
"""Below this share of the largest singular value finite kernels, not noise, leave their own errors."""


def signal_kernels(calibration: torch.Tensor, widths: Widths, threshold: Threshold) -> torch.Tensor:
    """Orthonormal basis U of the patches with singular values above `threshold`: (coil, kz, ky, kx, rank).

    The eigenvectors come from the smaller of the two Gram matrices of the patches B, ``B B^H`` or ``B^H B``
    (then ``U = B V / s``).
    """
    columns = _patches(calibration, widths)
    singular, vectors = _singular_vectors(columns)
    if threshold == "auto":
        cutoff = _noise_cutoff(singular, tuple(calibration.shape), widths)
    else:
        cutoff = threshold * singular[-1]
    kept = singular > cutoff
    basis = vectors[:, kept]
    if len(vectors) != len(columns):
        basis = columns @ (basis / singular[kept])
    return basis.reshape(len(calibration), *widths, -1)


def covariance_nodes(kernels: torch.Tensor) -> torch.Tensor:
    """G at the 2k - 1 equidistant nodes of each axis: (pz, py, px, coil, coil).

    kernels: (coil, kz, ky, kx, rank).
    """
    widths = kernels.shape[1:4]
    series = kernels
    for axis, width in enumerate(widths, start=1):
        node = torch.arange(2 * width - 1, device=kernels.device)
        angle_rad = 2 * math.pi / len(node) * torch.outer(node, node[:width]).to(kernels.real.dtype)
        waves = torch.polar(torch.ones_like(angle_rad), angle_rad)
        series = torch.tensordot(series, waves, dims=([axis], [1])).movedim(-1, axis)
    at_nodes = series.permute(1, 2, 3, 0, 4)
    return at_nodes @ at_nodes.mH / math.prod(widths)


def dirichlet_weights(position: torch.Tensor, n_nodes: int) -> torch.Tensor:
    """Weights (positions, nodes) that interpolate a polynomial of n_nodes (odd) frequencies from its nodes.

    position: in fields of view, 0 at the centre.
    """
    node = torch.arange(n_nodes, device=position.device) / n_nodes
    lag = torch.arange(1, n_nodes // 2 + 1, device=position.device)
    angle_rad = 2 * math.pi * (position[:, None] - node)
    return (1 + 2 * torch.cos(angle_rad[..., None] * lag).sum(-1)) / n_nodes


def _patches(calibration: torch.Tensor, widths: Widths) -> torch.Tensor:
    """Every patch of `widths` samples of all coils as a column: (coil * K, positions)."""
    windows = calibration
    for axis, width in enumerate(widths, start=1):
        windows = windows.unfold(axis, width, 1)
    columns = windows.permute(0, 4, 5, 6, 1, 2, 3)
    return columns.reshape(len(calibration) * math.prod(widths), -1)


def _singular_vectors(columns: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Singular values, ascending, and singular vectors of the shorter side."""
    short = columns.shape[0] <= columns.shape[1]
    power, vectors = torch.linalg.eigh(columns @ columns.mH if short else columns.mH @ columns)
    return power.clamp(min=0).sqrt(), vectors


def patch_spectrum(calibration: torch.Tensor, widths: Widths) -> torch.Tensor:
    """Singular values of the patches, ascending, to 1e-8 of the largest."""
    columns = _patches(calibration.to(torch.complex128), widths)
    short = columns if columns.shape[0] <= columns.shape[1] else columns.mH
    power: torch.Tensor = torch.linalg.eigvalsh(short @ short.mH)
    return power.clamp(min=0).sqrt()


def lowest_of_noise(shape: tuple[int, ...], widths: Widths) -> float:
    """The lower decile of the singular values of patches of white noise of unit variance.

    `shape` is that of the calibration, `(coil, kz, ky, kx)`.
    """
    return _noise_spectrum(shape, widths)[0]


def _noise_cutoff(singular: torch.Tensor, shape: tuple[int, ...], widths: Widths) -> torch.Tensor:
    """The largest singular value noise alone would have, judged by the smallest ones, which are noise.

    Parallel analysis (Horn 1965, doi:10.1007/BF02289447) on patches, whose overlap the Marchenko-Pastur law
    ignores.
    """
    quantile, largest = _noise_spectrum(shape, widths)
    return torch.maximum(singular[len(singular) // 10] * (largest / quantile), LEAST_THRESHOLD * singular[-1])


@lru_cache(maxsize=64)
def _noise_spectrum(shape: tuple[int, ...], widths: Widths) -> tuple[float, float]:
    """The lower decile and the largest of the singular values of patches of white noise."""
    noise = torch.randn(shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    singular, _ = _singular_vectors(_patches(noise, widths))
    return float(singular[len(singular) // 10]), float(singular[-1])
