"""Curves with one nonlinear parameter, fitted at every voxel: variable projection."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

Atoms = Callable[[torch.Tensor, slice], tuple[torch.Tensor, torch.Tensor]]
"""ψ and dψ/dp, two of (voxel, time, term), for the voxels of a slice at their p (voxel,). At one p (1,) for
all of them, once or for each."""

N_GRID = 64
N_STEPS = 8
VOXELS_AT_ONCE = 1 << 13


@dataclass(frozen=True)
class CurveFit:
    """The best curve at each voxel, float64."""

    parameter: torch.Tensor
    """(voxel,) p."""
    coefficients: torch.Tensor
    """(voxel, term) c."""
    relative_residual: torch.Tensor
    """(voxel,) ‖s − Σ c ψ(p)‖ / ‖s‖; one where there is no signal."""
    is_inside: torch.Tensor
    """(voxel,) whether p is within its range, not at an end that it was kept from leaving by."""


def fit_curves(signals: torch.Tensor, atoms: Atoms, lowest: float, highest: float) -> CurveFit:
    """argmin over p and c of ‖s − Σ_k c_k ψ_k(p)‖² at each voxel, p within a range.

    At a given p the c are linear least squares, so that p is searched alone: on a grid, then by Gauss-Newton
    steps on what the projection leaves, kept between the grid's neighbours. Golub & Pereyra 1973,
    doi:10.1137/0710036; Kaufman 1975, doi:10.1007/BF01932995.

    Args:
        signals: s, (voxel, time) real.
        atoms: ψ.
        lowest, highest: of p, on a scale on which curves change evenly, as the logarithm of a time.
    """
    blocks = [slice(begin, begin + VOXELS_AT_ONCE) for begin in range(0, len(signals), VOXELS_AT_ONCE)]
    grid = torch.linspace(lowest, highest, N_GRID, dtype=torch.float64, device=signals.device)
    fits = [_fit_block(signals[block].double(), block, atoms, grid) for block in blocks or [slice(0)]]
    parameter, coefficients, residual = (torch.cat(parts) for parts in zip(*fits, strict=True))
    end = 1e-6 * (highest - lowest)
    return CurveFit(
        parameter, coefficients, residual, (parameter > lowest + end) & (parameter < highest - end)
    )


def _fit_block(
    signals: torch.Tensor, block: slice, atoms: Atoms, grid: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    explained = torch.stack([_explained(signals, atoms(p[None], block)[0]) for p in grid])
    best = explained.argmax(0)
    lower, upper = grid[(best - 1).clamp_min(0)], grid[(best + 1).clamp_max(len(grid) - 1)]
    parameter = grid[best]
    for _ in range(N_STEPS):
        psi, slope = atoms(parameter, block)
        solve = _least_squares(psi)
        coefficients = solve(signals)
        residual = signals - _curve(psi, coefficients)
        tangent = _curve(slope, coefficients)
        tangent = tangent - _curve(psi, solve(tangent))
        power = tangent.square().sum(-1)
        step = torch.where(power > 0, (tangent * residual).sum(-1) / power, 0)
        parameter = torch.minimum(torch.maximum(parameter + step, lower), upper)
    psi, _ = atoms(parameter, block)
    coefficients = _least_squares(psi)(signals)
    left = (signals - _curve(psi, coefficients)).norm(dim=-1)
    norm = signals.norm(dim=-1)
    return parameter, coefficients, torch.where(norm > 0, left / norm, 1)


def _explained(signals: torch.Tensor, psi: torch.Tensor) -> torch.Tensor:
    """(voxel,): the energy of the signals in the span of the atoms."""
    overlaps = _overlaps(signals, psi)
    return (overlaps * _least_squares(psi)(signals)).sum(-1)


def _least_squares(psi: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    """Signals (voxel, time) to the c of the nearest Σ c ψ; small normal equations, in double precision."""
    gram = psi.mT @ psi
    ridge = torch.finfo(psi.dtype).eps * gram.diagonal(dim1=-2, dim2=-1).sum(-1)
    inverse = torch.linalg.inv(gram + torch.diag_embed(ridge[:, None].expand(gram.shape[:2])))
    return lambda signals: (inverse @ _overlaps(signals, psi)[..., None]).squeeze(-1)


def _overlaps(signals: torch.Tensor, psi: torch.Tensor) -> torch.Tensor:
    return signals @ psi[0] if len(psi) == 1 else (signals[:, None] @ psi).squeeze(1)


def _curve(psi: torch.Tensor, coefficients: torch.Tensor) -> torch.Tensor:
    return (psi @ coefficients[..., None]).squeeze(-1)
