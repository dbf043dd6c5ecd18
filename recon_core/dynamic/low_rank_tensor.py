"""Image series over several times, as a core and a factor for each: frames made only when asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from recon_core.errors import InputError

Selection = int | slice | torch.Tensor


@dataclass(frozen=True)
class TensorBasis:
    """A temporal basis Φ = 𝒢 ×₂ U₁ ×₃ U₂ … over several time dimensions, with rows of unit norm.

    For 20 cardiac phases, 6 breaths and 344 inversion times Φ has 41,280 columns, of which those asked for
    are made. Christodoulou et al. 2018, doi:10.1038/s41551-018-0217-y.
    """

    core: torch.Tensor
    """𝒢, (L, rank of each dimension)."""
    factors: tuple[torch.Tensor, ...]
    """U_d, (bin, rank) for each dimension."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Bins along each dimension."""
        return tuple(len(factor) for factor in self.factors)

    def at(self, *bins: torch.Tensor) -> torch.Tensor:
        """Φ at readouts, (L, readout), from the bin of each along every dimension."""
        if len(bins) != len(self.factors) or any(
            len(index) and not (int(index.min()) >= 0 and int(index.max()) < n)
            for index, n in zip(bins, self.shape, strict=False)
        ):
            raise InputError(
                f"tensor basis: expected bins within {self.shape}, one tensor for each, got {len(bins)} of "
                f"{[(int(i.min()), int(i.max())) for i in bins if len(i)]}; leave out readouts in no bin"
            )
        columns = self.core[..., None]
        for factor, index in zip(self.factors, bins, strict=True):
            columns = torch.einsum("la...n,na->l...n", columns, factor[index].to(columns.dtype))
        return columns.expand(-1, len(bins[0]))

    def frames(self, features: torch.Tensor, *selection: Selection) -> torch.Tensor:
        """The images U Φ of the frames selected along each dimension.

        Args:
            features: U, (L, z, y, x).
            selection: an index, a slice or a tensor of indices for each dimension.

        Returns:
            (*selected, z, y, x), without an axis where the selection is an index.
        """
        if len(selection) != len(self.factors):
            raise InputError(
                f"tensor basis: expected a selection for each of {len(self.factors)} dimensions, got "
                f"{len(selection)}; slice(None) takes all"
            )
        block = self.core.to(features.dtype)
        axis = 1
        for factor, wanted in zip(self.factors, selection, strict=True):
            rows = factor[wanted].to(block.dtype)
            block = torch.tensordot(block, rows, ([axis], [rows.ndim - 1]))
            if rows.ndim == 2:  # the new axis came last
                block = block.movedim(-1, axis)
                axis += 1
        series: torch.Tensor = torch.tensordot(block, features, ([0], [0]))
        return series


def hosvd(
    tensor: torch.Tensor, ranks: Sequence[int | None]
) -> tuple[torch.Tensor, list[torch.Tensor | None]]:
    """The truncated higher-order singular value decomposition: tensor ≈ core ×₁ U₁ ×₂ U₂ ….

    De Lathauwer et al. 2000, doi:10.1137/S0895479896305696. Factors have orthonormal columns, the leading
    left singular vectors of each unfolding; None for an axis of rank None, which stays as it is.
    """
    core, factors = tensor, list[torch.Tensor | None]()
    for axis, rank in enumerate(ranks):
        if rank is None:
            factors.append(None)
            continue
        unfolded = tensor.movedim(axis, 0).flatten(1)
        if not 1 <= rank <= min(unfolded.shape):
            raise InputError(
                f"hosvd: expected a rank from 1 to {min(unfolded.shape)} along axis {axis}, got {rank}; ask "
                "for one the tensor has"
            )
        factor = torch.linalg.svd(unfolded, full_matrices=False).U[:, :rank]
        core = torch.tensordot(factor.mH, core.movedim(axis, 0), ([1], [0])).movedim(0, axis)
        factors.append(factor)
    return core, factors


def tensor_basis(
    navigator_tensor: torch.Tensor, contrast: torch.Tensor, *, rank: int, motion_ranks: Sequence[int]
) -> TensorBasis:
    """The basis of rank L of navigators over motion bins, each with its coefficients in a contrast basis.

    The first rows are the contrast basis without motion, so that still tissue keeps the signal that its T1
    is fitted to, however little of it the navigators saw; the others the strongest of what is left of the
    navigators. This departs from the paper, whose rows are all the navigators'.

    Args:
        navigator_tensor: (navigator sample, *motion bin, coefficient), without missing entries, as
            `recon_core.dynamic.tensor_completion` gives it.
        contrast: the contrast basis (coefficient, contrast bin), with orthonormal rows, such as
            `recon_core.dynamic.dictionary_basis.recovery_basis`.
        rank: L.
        motion_ranks: of the factor of each motion, the constant included.

    Raises:
        InputError: a rank above that of the tensor.
    """
    core, factors = navigator_tensor, []
    for axis, motion_rank in enumerate(motion_ranks, start=1):
        factor = _motion_factor(navigator_tensor, axis, motion_rank)
        core = torch.tensordot(factor.mH, core.movedim(axis, 0), ([1], [0])).movedim(0, axis)
        factors.append(factor)
    n_static = len(contrast)
    flat = core.reshape(len(core), -1)
    _, _, static = torch.linalg.svd(flat[:, :n_static])
    _, singular_values, moving = torch.linalg.svd(flat[:, n_static:], full_matrices=False)
    n_above = n_static + int((singular_values > 1e-5 * flat.norm()).sum())
    if not 1 <= rank <= n_above:
        raise InputError(
            f"tensor basis: expected a rank from 1 to {n_above}, that of the contrast and of the navigators' "
            f"motion, got {rank}; ask for fewer"
        )
    rows = torch.zeros(n_above, flat.shape[1], dtype=flat.dtype, device=flat.device)
    rows[:n_static, :n_static], rows[n_static:, n_static:] = static, moving[: n_above - n_static]
    return TensorBasis(rows[:rank].reshape(rank, *core.shape[1:]), (*factors, contrast.mT.to(core.dtype)))


def _motion_factor(tensor: torch.Tensor, axis: int, rank: int) -> torch.Tensor:
    """(bin, rank): the constant, and the leading singular vectors of what changes along the axis."""
    n_bins = tensor.shape[axis]
    constant = tensor.new_full((n_bins, 1), n_bins**-0.5)
    if rank == 1:
        return constant
    changing = tensor - tensor.mean(axis, keepdim=True)
    ranks: list[int | None] = [None] * tensor.ndim
    ranks[axis] = rank - 1
    factor = hosvd(changing, ranks)[1][axis]
    assert factor is not None
    return torch.cat([constant, factor], 1)
