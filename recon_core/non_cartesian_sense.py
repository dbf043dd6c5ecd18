"""The sensitivity encoding operator of non-Cartesian sampling, y = √W F S x."""

from dataclasses import dataclass
from functools import cached_property

import torch

from recon_core.errors import InputError
from recon_core.linop import LinearOperator
from recon_core.nufft import Nufft
from recon_core.sense_operator import (
    CoilwiseNormal,
    add_conjugate_combination,
    coil_images_of,
    max_map_power,
)
from recon_core.solve.power_method import largest_eigenvalue

SAFETY = 1.05
"""Power iteration comes from below: after 20 steps it is within this of the largest eigenvalue."""


@dataclass(frozen=True, kw_only=True, eq=False)
class NonCartesianSampling:
    """Where k-space was sampled, and how much each sample counts in a least-squares sum."""

    trajectory: torch.Tensor
    """k, (readout, sample, 2 or 3), cycles per field of view."""
    weights: torch.Tensor | None = None
    """W, (readout, sample), not negative: areas of k-space, as in `recon_core.density_compensation`, make
    iterations converge faster; None (one each) the noise least."""


class NonCartesianSense(LinearOperator):
    """Image to multi-coil samples: y_c = √W F Σ_s S_sc x_s, F the `Nufft` of a trajectory.

    Pruessmann et al. 2001, doi:10.1002/mrm.1241; the normal operator as a convolution after Wajer &
    Pruessmann 2001 (ISMRM, p. 767).

    Args:
        coil_maps: S, complex, (coil, z, y, x) or (set, coil, z, y, x).
        sampling: trajectory and W.

    Images are (*batch, z, y, x), or (*batch, set, z, y, x) where the maps have sets; samples are
    (*batch, coil, readout, sample). Raises InputError where shapes do not fit.
    """

    def __init__(self, coil_maps: torch.Tensor, sampling: NonCartesianSampling) -> None:
        if coil_maps.ndim not in (4, 5) or not coil_maps.is_complex():
            raise InputError(
                f"SENSE: expected complex coil maps ([set,] coil, z, y, x), got {coil_maps.dtype} "
                f"{tuple(coil_maps.shape)}; reshape them, with z = 1 in 2-D"
            )
        self.has_sets = coil_maps.ndim == 5
        self.coil_maps = coil_maps if self.has_sets else coil_maps[None]
        n_z, n_y, n_x = coil_maps.shape[-3:]
        trajectory = sampling.trajectory.to(coil_maps.device)
        self.nufft_op = Nufft(trajectory, (n_z, n_y, n_x), dtype=coil_maps.dtype)
        weights = sampling.weights
        if weights is None:
            weights = torch.ones(trajectory.shape[:-1])
        if weights.shape != trajectory.shape[:-1] or bool((weights < 0).any()):
            raise InputError(
                f"SENSE: expected weights of {tuple(trajectory.shape[:-1])} that are not negative, got "
                f"{tuple(weights.shape)}; use those of this trajectory"
            )
        self.weights = weights.to(coil_maps.device, coil_maps.real.dtype)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """√W F S x."""
        image = x if self.has_sets else x.unsqueeze(-4)
        return self.nufft_op(coil_images_of(self.coil_maps, image)) * self.weights.sqrt()

    def adjoint(self, y: torch.Tensor) -> torch.Tensor:
        """Sᴴ Fᴴ √W y."""
        coil_images = self.nufft_op.H(self.weighted(y))
        image = coil_images.new_zeros(*y.shape[:-3], *self.coil_maps[:, 0].shape)
        add_conjugate_combination(image, self.coil_maps, coil_images.conj_physical())
        result = image.conj_physical()
        return result if self.has_sets else result.squeeze(-4)

    def weighted(self, y: torch.Tensor) -> torch.Tensor:
        """√W y: what the operator is to explain where y are the samples as acquired."""
        wanted = (self.coil_maps.shape[1], *self.weights.shape)
        if y.shape[-3:] != wanted:
            raise InputError(
                f"SENSE: expected samples (coil, readout, sample) of {wanted} as coil maps and trajectory "
                f"have, got {tuple(y.shape)}; use those of this scan"
            )
        return y * self.weights.sqrt()

    @cached_property
    def normal(self) -> LinearOperator:
        """Sᴴ Fᴴ W F S, the middle as one convolution."""
        return CoilwiseNormal(self.coil_maps, self._projection, self.has_sets)

    def max_eigenvalue_bound(self) -> float:
        """An upper bound of the eigenvalues of AᴴA: those of SᴴS times that of FᴴWF, by power iteration."""
        shape = self.nufft_op.shape
        start = torch.randn(shape, dtype=self.coil_maps.dtype, generator=torch.Generator().manual_seed(0))
        of_sampling = largest_eigenvalue(self._projection, start.to(self.coil_maps.device), n_iterations=20)
        return SAFETY * of_sampling * max_map_power(self.coil_maps)

    @cached_property
    def _projection(self) -> LinearOperator:
        return self.nufft_op.weighted_normal(self.weights)
