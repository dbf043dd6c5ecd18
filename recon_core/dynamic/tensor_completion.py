"""Navigators sorted into bins of motion and contrast, most of which were never visited, completed."""

import math
from collections.abc import Sequence

import torch

from recon_core.errors import InputError
from recon_core.locally_low_rank import singular_value_threshold


def completed_navigators(
    navigators: torch.Tensor,
    motion_bins: Sequence[torch.Tensor],
    n_bins: Sequence[int],
    contrast: torch.Tensor,
    *,
    regularisation: float = 0.002,
    n_iterations: int = 60,
) -> torch.Tensor:
    """argmin over X of ½ Σ_t ‖y_t − X(·, bins of t, ·) u_t‖² + λ s Σ_d ‖X_(d)‖_*, by ADMM.

    Of the bins of 20 cardiac phases × 6 breaths × 344 inversion times a scan visits a quarter at most. The
    contrast basis u has few coefficients, so that each motion bin needs few navigators; the nuclear norms of
    the unfoldings along navigator samples and motions let neighbours and patterns fill in the rest. Liu et
    al. 2013, doi:10.1109/TPAMI.2012.39; in this use Christodoulou et al. 2018,
    doi:10.1038/s41551-018-0217-y. The quadratic step is a small system of equations for each motion bin.

    Args:
        navigators: y, (time, sample): compressed to few samples.
        motion_bins: for each motion the bin of every navigator, (time,).
        n_bins: of each motion.
        contrast: u, (coefficient, time), orthonormal rows of a contrast basis at each navigator.
        regularisation: λ, relative to s, the largest singular value of the navigators per square root of the
            number of motion bins.
        n_iterations: of ADMM.

    Returns:
        X, (sample, *motion bin, coefficient), of the dtype of the navigators.

    Raises:
        InputError: shapes that do not fit, or bins out of range.
    """
    fits = navigators.ndim == 2 and contrast.shape[1] == len(navigators) and len(motion_bins) == len(n_bins)
    if not fits or any(len(index) != len(navigators) for index in motion_bins) or not len(navigators):
        raise InputError(
            f"tensor completion: expected navigators (time, sample) with their bins and contrast, got "
            f"{tuple(navigators.shape)}, {[len(index) for index in motion_bins]} bins and "
            f"{tuple(contrast.shape)}; give one of each for every navigator"
        )
    if any(int(i.min()) < 0 or int(i.max()) >= n for i, n in zip(motion_bins, n_bins, strict=True)):
        raise InputError(
            f"tensor completion: expected bins within {tuple(n_bins)}; leave out navigators in no bin"
        )
    n_samples, n_coefficients = navigators.shape[1], len(contrast)
    shape = (*n_bins, n_samples, n_coefficients)
    flat = torch.zeros_like(motion_bins[0])
    for index, n in zip(motion_bins, n_bins, strict=True):
        flat = flat * n + index
    u = contrast.mT.to(navigators.dtype)
    n_cells = math.prod(n_bins)
    grams = navigators.new_zeros(n_cells, n_coefficients, n_coefficients)
    grams.index_add_(0, flat, u[:, :, None] * u.conj()[:, None])
    rhs = navigators.new_zeros(n_cells, n_samples, n_coefficients)
    rhs.index_add_(0, flat, navigators[:, :, None] * u.conj()[:, None])
    n_unfoldings = len(n_bins) + 1
    scale = float(torch.linalg.matrix_norm(navigators, 2)) / n_cells**0.5
    threshold = regularisation * scale
    penalty = float(grams.diagonal(dim1=1, dim2=2).real.mean()) or 1.0
    identity = torch.eye(n_coefficients, dtype=grams.dtype, device=grams.device)
    inverse = torch.linalg.inv(grams + n_unfoldings * penalty * identity)
    x = navigators.new_zeros(shape)
    copies = duals = [x] * n_unfoldings
    for _ in range(n_iterations):
        pulled = torch.stack(copies).sum(0) - torch.stack(duals).sum(0)
        x = ((rhs + penalty * pulled.reshape(rhs.shape)) @ inverse).reshape(shape)
        copies = [_nuclear(x + dual, axis, threshold / penalty) for axis, dual in enumerate(duals)]
        duals = [dual + x - copy for copy, dual in zip(copies, duals, strict=True)]
    return x.movedim(-2, 0)


def _nuclear(x: torch.Tensor, axis: int, threshold: float) -> torch.Tensor:
    """`x` with the singular values of its unfolding along an axis reduced."""
    unfolded = x.movedim(axis, -1)
    shrunk = singular_value_threshold(unfolded.reshape(-1, x.shape[axis]), threshold)
    return shrunk.reshape(unfolded.shape).movedim(-1, axis)
