"""A scan's data in a temporal feature space, added up readout by readout."""

from __future__ import annotations

import torch

from recon_core.errors import InputError
from recon_core.nufft import Nufft, Shape
from recon_core.rotated_readouts import RotatedReadouts

BLOCK_SAMPLES = 1 << 24
"""Transformed at once: 128 MB in complex64."""


class FeatureSums:
    """Σ_r conj(φ_l(r)) F_rᴴ d_r of each coil, F_r the non-uniform transform to readout r: F_NUᴴ Ω*(d) Φᴴ.

    Linear in the readouts, so that blocks of them are added as they arrive, and in the conjugate of Φ, so
    that the basis may be mixed afterwards. What `rotated` readouts add stays at their regular angles until
    `images` is called; without, each block is transformed at once.

    Args:
        shape: (z, y, x) of the images.
        rotated: how to sum turned copies of one readout; None for any trajectory.
    """

    def __init__(self, shape: Shape, rotated: RotatedReadouts | None) -> None:
        self.shape, self.rotated = shape, rotated
        self.sums: torch.Tensor | None = None
        """(angle, L, coil, sample) of rotated readouts, else (L, coil, z, y, x)."""

    def add(self, kspace: torch.Tensor, trajectory: torch.Tensor, basis: torch.Tensor) -> None:
        """Add readouts (coil, readout, sample) at (readout, sample, 2 or 3) with basis (L, readout)."""
        require_fitting(kspace, trajectory, basis)
        rows = basis.conj().resolve_conj()
        if self.rotated is None:
            self._add_transformed(kspace, trajectory, rows)
            return
        readouts = kspace.movedim(0, 1)
        if self.sums is None:
            self.sums = self.rotated.zeros(len(rows), readouts)
        self.rotated.add(self.sums, readouts, rows, self.rotated.angles_rad(trajectory))

    def images(self) -> torch.Tensor:
        """(L, coil, z, y, x), complex."""
        if self.sums is None:
            raise InputError("feature sums: expected readouts before their images; add some first")
        if self.rotated is None:
            return self.sums
        nufft_op = Nufft(self.rotated.trajectory, self.shape, dtype=self.sums.dtype)
        n_rows = max(1, BLOCK_SAMPLES // self.sums[:, 0].numel())
        blocks = torch.split(self.sums, n_rows, dim=1)
        return torch.cat([nufft_op.H(block.permute(1, 2, 0, 3).contiguous()) for block in blocks])

    def mixed(self, mixing: torch.Tensor) -> FeatureSums:
        """The sums for the basis `mixing @ Φ`, (M, L) @ (L, readout)."""
        result = FeatureSums(self.shape, self.rotated)
        if self.sums is not None:
            axis = 0 if self.rotated is None else 1
            rows = mixing.conj().to(self.sums.dtype)
            result.sums = torch.tensordot(rows, self.sums, ([1], [axis])).movedim(0, axis).contiguous()
        return result

    def _add_transformed(self, kspace: torch.Tensor, trajectory: torch.Tensor, rows: torch.Tensor) -> None:
        nufft_op = Nufft(trajectory, self.shape, dtype=kspace.dtype)
        n_rows = max(1, BLOCK_SAMPLES // max(1, kspace.numel()))
        blocks = torch.split(rows, n_rows)
        images = torch.cat([nufft_op.H(block[:, None, :, None] * kspace) for block in blocks])
        self.sums = images if self.sums is None else self.sums.add_(images)


def require_fitting(kspace: torch.Tensor, trajectory: torch.Tensor, basis: torch.Tensor) -> None:
    """Raise an InputError unless (coil, readout, sample), (readout, sample, 2 or 3), (L, readout) agree."""
    fits = (
        kspace.ndim == trajectory.ndim == 3
        and basis.ndim == 2
        and kspace.shape[1:] == trajectory.shape[:2]
        and basis.shape[1] == kspace.shape[1]
    )
    if not fits or not kspace.is_complex():
        raise InputError(
            "subspace: expected complex k-space (coil, readout, sample), its trajectory (readout, sample, "
            f"2 or 3) and basis (L, readout), got {kspace.dtype} {tuple(kspace.shape)}, "
            f"{tuple(trajectory.shape)} and {tuple(basis.shape)}; give each readout its positions and its "
            "column of the basis"
        )
