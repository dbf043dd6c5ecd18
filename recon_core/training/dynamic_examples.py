"""Feature maps to learn from, of subjects that nobody scanned."""

from collections.abc import Callable

import torch

from recon_core.density_compensation import swept_density
from recon_core.dynamic.multitasking import MultitaskingScan
from recon_core.subspace import subspace_backprojection

TemporalBasis = Callable[[torch.Tensor], torch.Tensor]
"""Navigators `(coil, readout, sample)` to a basis `(L, readout)`."""


def feature_maps_of(
    scan: MultitaskingScan, temporal_basis: TemporalBasis, n_threads: int = 1
) -> tuple[torch.Tensor, torch.Tensor]:
    """Backprojection U₀ and truth U, `(L, y, x)` complex64 each, of one simulated scan.

    Everything is as it would be inline: noisy spokes of a moving chest, and a basis found in the scan's own
    navigators; only the coil maps are known. The rows of Φ are scaled to a mean square of one, so that U₀ is
    about as large as U whatever the number of spokes. U is the least-squares fit of the true images, not
    their subspace: what L coefficients cannot hold is missing from it, but disturbs U₀.

    Args:
        scan: whose spokes follow each a navigator.
        temporal_basis: Φ at the navigators; that of a spoke is that of the navigator before it.
        n_threads: as for `MultitaskingScan.kspace`.
    """
    kspace = torch.cat(list(scan.kspace(n_threads))).transpose(0, 1)
    basis = temporal_basis(kspace[:, scan.is_navigator])
    basis = basis / torch.linalg.vector_norm(basis, dim=1, keepdim=True) * basis.shape[1] ** 0.5
    trajectory = scan.trajectory[~scan.is_navigator]
    backprojection = subspace_backprojection(
        kspace[:, ~scan.is_navigator].contiguous(),
        trajectory,
        basis,
        scan.coil_maps,
        weights=swept_density(trajectory),
    )
    return backprojection[:, 0], scan.feature_maps(basis, n_threads)
