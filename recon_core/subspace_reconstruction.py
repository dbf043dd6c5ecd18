"""Feature maps that fit the data and are sparse or of low rank: reference solvers of the feature space."""

from collections.abc import Callable, Iterator, Sequence
from itertools import repeat

import numpy as np
import torch

from recon_core.locally_low_rank import locally_low_rank_threshold
from recon_core.solve.admm import admm
from recon_core.solve.power_method import largest_eigenvalue
from recon_core.wavelet import Wavelet

Operator = Callable[[torch.Tensor], torch.Tensor]
Prox = Callable[[torch.Tensor, float], torch.Tensor]


def wavelet_subspace(
    normal_op: Operator,
    rhs: torch.Tensor,
    *,
    regularisation: float = 0.002,
    n_iterations: int = 20,
    n_inner_iterations: int = 20,
    penalty: float = 0.01,
    seed: int | None = 0,
) -> torch.Tensor:
    """argmin_U ½ ‖W^½ (d − E(U))‖² + λ s ‖Ψ U‖₁ by ADMM, 20 × 20 iterations.

    Christodoulou et al. 2018, doi:10.1038/s41551-018-0217-y. Ψ is the orthogonal Daubechies-4 transform of
    each feature map.

    Args:
        normal_op: EᴴWE, as `recon_core.subspace.SubspaceNormal`.
        rhs: EᴴW d, (L, z, y, x).
        regularisation: λ, relative to s = max |EᴴW d|.
        n_iterations: of ADMM.
        n_inner_iterations: of the conjugate gradients in each.
        penalty: ρ of ADMM, relative to the largest eigenvalue of EᴴWE.
        seed: of the random shift of Ψ in each iteration; None for no shifts, and a convex problem.

    Returns:
        U, (L, z, y, x); zero where the data are zero.
    """
    wavelet = Wavelet(rhs.shape[-3:], dtype=rhs.real.dtype, device=rhs.device)
    shifts = _random_shifts(rhs.shape[-3:], n_iterations, seed)
    threshold = regularisation * float(rhs.abs().max())
    return _admm(
        normal_op,
        rhs,
        lambda x, step: wavelet.shifted(next(shifts)).soft_threshold(x, step * threshold),
        n_iterations,
        n_inner_iterations,
        penalty,
    )


def locally_low_rank_subspace(
    normal_op: Operator,
    rhs: torch.Tensor,
    *,
    regularisation: float = 0.02,
    block: int = 8,
    n_iterations: int = 20,
    n_inner_iterations: int = 20,
    penalty: float = 0.01,
    seed: int | None = 0,
) -> torch.Tensor:
    """argmin_U ½ ‖W^½ (d − E(U))‖² + λ s Σ_b ‖B_b U‖_* by ADMM: `recon_core.locally_low_rank`.

    Tamir et al. 2017, doi:10.1002/mrm.26102. Arguments as for `wavelet_subspace`; `block` is the side of the
    blocks B_b in voxels.
    """
    shifts = _random_shifts(rhs.shape[-3:], n_iterations, seed)
    threshold = regularisation * float(rhs.abs().max())

    def prox(x: torch.Tensor, step: float) -> torch.Tensor:
        _, y, x_ = next(shifts)
        return locally_low_rank_threshold(x, step * threshold, block=block, shift=(y, x_))

    return _admm(normal_op, rhs, prox, n_iterations, n_inner_iterations, penalty)


def _admm(
    normal_op: Operator,
    rhs: torch.Tensor,
    prox: Prox,
    n_iterations: int,
    n_inner_iterations: int,
    penalty: float,
) -> torch.Tensor:
    start = torch.randn(rhs.shape, dtype=rhs.dtype, generator=torch.Generator().manual_seed(0))
    largest = largest_eigenvalue(normal_op, start.to(rhs.device), n_iterations=10)
    return admm(
        normal_op,
        rhs,
        prox,
        penalty=penalty * largest or 1.0,
        n_iterations=n_iterations,
        n_inner_iterations=n_inner_iterations,
    )


def _random_shifts(shape: Sequence[int], n: int, seed: int | None) -> Iterator[list[int]]:
    """(z, y, x) for each of n iterations; zero without a seed."""
    if seed is None:
        return repeat([0, 0, 0], n)
    return iter(np.random.default_rng(seed).integers(0, shape, size=(n, 3)).tolist())
