"""Feature maps to learn from, of subjects that nobody scanned."""

import math

import torch

from recon_core.density_compensation import swept_density
from recon_core.dynamic.multitasking import MultitaskingScan
from recon_core.dynamic.temporal_basis import at_times, temporal_basis
from recon_core.subspace import subspace_backprojection


def feature_maps_of(
    scan: MultitaskingScan, rank: int = 32, n_threads: int = 1
) -> tuple[torch.Tensor, torch.Tensor]:
    """Backprojection U₀ and truth U, `(L, y, x)` complex64 each, of one simulated scan.

    Everything is as it would be inline: noisy spokes of a moving chest, and a basis found in the scan's own
    navigators; only the coil maps are known. The rows of Φ are scaled to a mean square of one over the
    spokes, so that U₀ is about as large as U whatever their number. U is the least-squares fit of the true
    images: what L coefficients cannot hold is missing from it, but disturbs U₀.

    Args:
        scan: what is scanned, and how.
        rank: L.
        n_threads: as for `MultitaskingScan.kspace`.

    Raises:
        InputError: a rank above that of the navigators.
    """
    is_navigator, times_s = scan.is_navigator, scan.motion.times_s
    kspace = torch.cat(list(scan.kspace(n_threads))).transpose(0, 1)
    navigators = kspace[:, is_navigator].transpose(1, 2)
    rows = temporal_basis(navigators, rank=rank).rows
    basis = at_times(rows, times_s[is_navigator], times_s[~is_navigator])
    basis = basis * (math.sqrt(basis.shape[1]) / torch.linalg.vector_norm(basis, dim=1, keepdim=True))
    trajectory = scan.trajectory[~is_navigator]
    backprojection = subspace_backprojection(
        kspace[:, ~is_navigator].contiguous(),
        trajectory,
        basis,
        scan.coil_maps,
        weights=swept_density(trajectory),
    )
    return backprojection[:, 0], scan.feature_maps(basis, n_threads)
