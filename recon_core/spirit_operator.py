"""The SPIRiT operator G: every sample from its neighbours in all coils, in k-space and in image space.

Lustig & Pauly 2010, doi:10.1002/mrm.22428. What `recon_core.coils.spirit_kernel` calibrates says which
neighbour each entry of a kernel stands for.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from torch.nn.functional import conv2d

from recon_core.errors import InputError
from recon_core.fourier import shift_phases
from recon_core.linop import LinearOperator

BLOCK_ELEMENTS = 1 << 16
"""Samples of coil images mixed at a time: 512 KB in complex64, which stay in cache."""


class SpiritConvolution(LinearOperator):
    """G in k-space: (G y)_i(p) = Σ_j Σ_k g_ij(k) y_j(p + k), samples beyond the edges being zero.

    The form the kernel is calibrated for. It needs no memory, and width² times the products of `CoilMixing`.

    Args:
        kernel: (coil, coil, ky, kx).

    k-space is (*batch, coil, ky, kx).
    """

    def __init__(self, kernel: torch.Tensor) -> None:
        self.kernel = kernel

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """G x."""
        return _convolved(self.kernel, x)

    def adjoint(self, y: torch.Tensor) -> torch.Tensor:
        """Gᴴ y."""
        return _convolved(self.kernel.transpose(0, 1).flip((-2, -1)).conj(), y)


def spirit_matrices(
    kernel: torch.Tensor, shape: tuple[int, int], *, origin_first: Sequence[int] = ()
) -> torch.Tensor:
    """G in image space, a matrix over coils at each pixel: G_ij(r) = Σ_k g_ij(k) e^(−2πi k·r/n).

    The same operator as in k-space, but for the edges of k-space, which wrap around.

    Args:
        kernel: (*batch, coil out, coil in, ky, kx).
        shape: (y, x).
        origin_first: the axes, of −2 and −1, along which r = 0 is to be the first pixel, not the middle one.

    Returns:
        (*batch, coil out, coil in, y, x), for `CoilMixing`.
    """
    phases = {}
    for axis in (-2, -1):
        steps = torch.arange(kernel.shape[axis], device=kernel.device) - kernel.shape[axis] // 2
        along = shift_phases(steps, shape[axis], kernel)
        phases[axis] = torch.fft.ifftshift(along, dim=-1) if axis in origin_first else along
    return phases[-2].T @ (kernel @ phases[-1])


class CoilMixing(LinearOperator):
    """A matrix over coils at each pixel: (A x)_i(r) = Σ_j A_ij(r) x_j(r).

    With `spirit_matrices` that is G on coil images, one product of n_coils x n_coils a pixel. AᴴA is one too,
    and is computed once.

    Args:
        matrices: (*batch, coil out, coil in, y, x).

    Coil images are (*batch, coil, y, x). Gradients flow to the images, not to the matrices.
    """

    def __init__(self, matrices: torch.Tensor) -> None:
        if matrices.ndim < 4:
            raise InputError(
                f"CoilMixing: expected matrices (*batch, coil, coil, y, x), got {tuple(matrices.shape)}"
            )
        self.matrices = matrices.detach()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """A x."""
        return _differentiable(self.matrices, x, False)

    def adjoint(self, y: torch.Tensor) -> torch.Tensor:
        """Aᴴ y."""
        return _differentiable(self.matrices, y, True)

    @cached_property
    def normal(self) -> LinearOperator:
        """AᴴA, as one matrix at each pixel."""
        pixels = self.matrices.movedim((-4, -3), (-2, -1))
        return CoilMixing((pixels.mH @ pixels).movedim((-2, -1), (-4, -3)).contiguous())


class _Mixed(torch.autograd.Function):
    """The gradient of A x is Aᴴ times that of the result: nothing but A has to be kept."""

    @staticmethod
    def forward(ctx: Any, matrices: torch.Tensor, x: torch.Tensor, adjoint: bool) -> torch.Tensor:
        ctx.matrices, ctx.adjoint = matrices, adjoint
        return _mixed(matrices, x, adjoint)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[None, torch.Tensor, None]:
        return None, _differentiable(ctx.matrices, gradients[0], not ctx.adjoint), None


def _differentiable(matrices: torch.Tensor, x: torch.Tensor, adjoint: bool) -> torch.Tensor:
    mixed: torch.Tensor = _Mixed.apply(matrices, x, adjoint)  # type: ignore[no-untyped-call]
    return mixed


def _mixed(matrices: torch.Tensor, x: torch.Tensor, adjoint: bool) -> torch.Tensor:
    """Rows by rows and coil by coil, so that the result stays in cache and the matrices are read once."""
    if adjoint:
        # Conjugating the images keeps one copy of the matrices: Aᴴ x = conj(Aᵀ conj(x)).
        return _mixed(matrices.transpose(-4, -3), x.conj(), False).conj_physical_()
    n_out = matrices.shape[-4]
    result = torch.empty((*x.shape[:-3], n_out, *x.shape[-2:]), dtype=x.dtype, device=x.device)
    n_rows = max(1, BLOCK_ELEMENTS * x.shape[-2] // (result.numel() or 1))
    if x.is_cuda:
        n_rows = x.shape[-2]
    for first in range(0, x.shape[-2], n_rows):
        rows = slice(first, first + n_rows)
        part = result[..., rows, :]
        for coil, image in enumerate(x[..., rows, :].unsqueeze(-4).unbind(-3)):
            column = matrices[..., coil, rows, :]
            if coil == 0:
                torch.mul(column, image, out=part)
            else:
                part.addcmul_(column, image)
    return result


def _convolved(kernel: torch.Tensor, kspace: torch.Tensor) -> torch.Tensor:
    """conv2d is a correlation, as SPIRiT's sum is."""
    padding = (kernel.shape[-2] // 2, kernel.shape[-1] // 2)
    flat = conv2d(kspace.reshape(-1, *kspace.shape[-3:]), kernel, padding=padding)
    return flat.view_as(kspace)
