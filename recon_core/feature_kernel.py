"""How the readouts of a scan overlap in a temporal feature space, added up readout by readout."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product

import torch

from recon_core.errors import InputError
from recon_core.nufft import Nufft, Shape
from recon_core.rotated_readouts import RotatedReadouts
from recon_core.toeplitz import doubled, toeplitz_kernel

BLOCK_SAMPLES = 1 << 24
"""Transformed at once: 128 MB in complex64."""


class KernelSums:
    """Σ_r conj(φ_l(r)) φ_m(r) F_rᴴ W F_r for every pair l ≤ m: all that is left of the frames in EᴴWE.

    Each is a convolution (`recon_core.toeplitz`), the kernel of (m, l) the conjugate of that of (l, m). As
    `recon_core.feature_sums`, it is added to as readouts arrive. A real basis has real kernels: two of them
    are summed as real and imaginary part of one.

    Args:
        shape: (z, y, x) of the images.
        rotated: how to sum turned copies of one readout; None for any trajectory.
        weights: W, (sample,), real, the same for all readouts; None for ones.
    """

    def __init__(
        self, shape: Shape, rotated: RotatedReadouts | None, weights: torch.Tensor | None = None
    ) -> None:
        self.shape, self.weights = shape, weights
        self.rotated = None if rotated is None else rotated.scaled(2)
        self.sums: torch.Tensor | None = None
        """(angle, pair, 2) of rotated readouts, else point spread functions (pair, 2z, 2y, 2x)."""
        self.is_real = True
        self.rank = 0

    def add(self, trajectory: torch.Tensor, basis: torch.Tensor) -> None:
        """Add readouts at (readout, sample, 2 or 3) with basis (L, readout)."""
        self.is_real, self.rank = not basis.is_complex(), len(basis)
        first, second = torch.triu_indices(self.rank, self.rank, device=basis.device)
        pairs = basis[first].conj() * basis[second]
        if self.is_real:
            pairs = torch.nn.functional.pad(pairs, (0, 0, 0, len(pairs) % 2))
            pairs = torch.complex(pairs[::2], pairs[1::2])
        growth = [m / n for m, n in zip(doubled(self.shape), self.shape, strict=True)][::-1]
        finer = trajectory * trajectory.new_tensor(growth[: trajectory.shape[-1]])
        if self.rotated is None:
            spreads = torch.cat(list(self._spreads(finer, pairs[..., None])))
            self.sums = spreads if self.sums is None else self.sums.add_(spreads)
            return
        as_they_are = pairs.new_tensor([1, 0]).expand(pairs.shape[1], 2)
        if self.sums is None:
            self.sums = self.rotated.zeros(len(pairs), as_they_are)
        self.rotated.add(self.sums, as_they_are, pairs, self.rotated.angles_rad(finer))

    def kernel(self) -> torch.Tensor:
        """(parity, z, y, x, L, L), Hermitian; real for a real basis.

        Parities are the even and the odd samples of the doubled grid along each axis longer than one.
        `mixed_kernel` gives that of another basis.
        """
        if self.sums is None:
            raise InputError("feature kernel: expected readouts before their kernel; add some first")
        steps = [2 if n > 1 else 1 for n in self.shape]
        parities = list(product(*map(range, steps)))
        dtype = self.sums.real.dtype if self.is_real else self.sums.dtype
        kernel = self.sums.new_empty((len(parities), *self.shape, self.rank, self.rank), dtype=dtype)
        indices = torch.triu_indices(self.rank, self.rank, device=kernel.device)
        for spreads in self._finished():
            transfer = toeplitz_kernel(spreads)
            if self.is_real:
                transfer = torch.view_as_real(transfer).movedim(-1, 1).flatten(0, 1)
            first, second = indices[:, : len(transfer)]
            indices = indices[:, len(transfer) :]
            for part, parity in zip(kernel, parities, strict=True):
                every = (slice(start, None, step) for start, step in zip(parity, steps, strict=True))
                values = transfer[: len(first), *every].movedim(0, -1)
                part[..., first, second] = values
                part[..., second, first] = values.conj()
        return kernel

    def _finished(self) -> Iterator[torch.Tensor]:
        """Point spread functions (pair, 2z, 2y, 2x), some pairs at a time."""
        assert self.sums is not None
        if self.rotated is None:
            return iter(torch.split(self.sums, 8))
        return self._spreads(self.rotated.trajectory, self.sums.movedim(0, 1))

    def _spreads(self, trajectory: torch.Tensor, factors: torch.Tensor) -> Iterator[torch.Tensor]:
        """Of the weights times factors (pair, readout, 1 or 2): as they are and, if two, reversed."""
        shape = doubled(self.shape)
        nufft_op = Nufft(trajectory, shape, dtype=factors.dtype)
        n_samples = trajectory.shape[1] if self.rotated is None else self.rotated.n_samples
        weights = factors.new_ones(n_samples) if self.weights is None else self.weights.to(factors)
        weights = torch.nn.functional.pad(weights, (0, trajectory.shape[1] - n_samples))
        weights = torch.stack([weights, weights.flip(0)])[: factors.shape[-1]]
        scale = 1 / (nufft_op.scale * math.prod(self.shape))
        for some in torch.split(factors, max(1, BLOCK_SAMPLES // trajectory[..., 0].numel())):
            spreads = nufft_op.H(some @ weights).mul_(scale)
            # No two voxels are n apart. Without that lag real weights have a real kernel.
            for axis, n in zip((-3, -2, -1), self.shape, strict=True):
                if n > 1:
                    spreads.select(axis, 0).zero_()
            yield spreads


def mixed_kernel(kernel: torch.Tensor, mixing: torch.Tensor) -> torch.Tensor:
    """The kernel for the basis `mixing @ Φ`, (M, L) @ (L, readout)."""
    factors = mixing.to(torch.promote_types(kernel.dtype, mixing.dtype))
    return torch.stack([factors.conj() @ part.to(factors.dtype) @ factors.mT for part in kernel])
