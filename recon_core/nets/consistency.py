"""Consistency of a network's image with the measured k-space, differentiable."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from recon_core.linop import LinearOperator
from recon_core.nets.undersampled import Undersampled
from recon_core.sense_operator import SenseOperator
from recon_core.solve.conjugate_gradient import conjugate_gradient


class Measured:
    """What was measured of a batch of slices, in the form that every consistency block of a network uses.

    Made once for each call of the network, from normalised slices.
    """

    zero_filled: torch.Tensor
    """`(slice, y, x)`: Aᴴ y."""
    normal: LinearOperator
    """AᴴA = Sᴴ Fᴴ M F S of `(slice, y, x)` images."""
    coil_power: torch.Tensor | None
    """`(slice, y, x)`: SᴴS, one inside the object and zero outside; None for a coil of sensitivity one."""

    def __init__(self, undersampled: Undersampled) -> None:
        self.zero_filled = undersampled.zero_filled()
        coil_maps = undersampled.coil_maps
        if coil_maps is None:
            self.coil_power = None
            coil_maps = torch.ones_like(self.zero_filled)[:, None]
        else:
            self.coil_power = torch.linalg.vecdot(coil_maps, coil_maps, dim=1).real
        # The slices are the z axis of one operator that does not transform along it.
        self.normal = SenseOperator(coil_maps.transpose(0, 1), undersampled.sampled, axes=(-2, -1)).normal


def data_consistency(
    image: torch.Tensor,
    measured: Measured,
    weight: float | torch.Tensor | None = None,
    n_iterations: int = 10,
) -> torch.Tensor:
    """The image nearest to z that agrees with the data y: argmin_x λ ‖A x − y‖² + ‖x − z‖².

    With a single coil, A = M F, that is a closed form: sampled positions become (k + λ y) / (1 + λ), k being
    what z has there, and y itself where λ is infinite. Schlemper et al. 2018, doi:10.1109/TMI.2017.2760978.

    With coil maps, A = M F S, and (I + λ AᴴA) x = z + λ Aᴴ y is solved by conjugate gradients from z on. The
    gradient comes from another such solve, so that memory does not grow with the iterations; it is that of
    the exact solution. Ten iterations leave an error of 2e-4 at λ = 10 and of 3e-2 at 100. Aggarwal et al.
    2019, doi:10.1109/TMI.2018.2865356.

    An infinite λ is out of reach of conjugate gradients, of which I + λ AᴴA would ask ever more iterations.
    Instead, what is measured replaces the samples of each coil image of S z, and these are combined again:
    x = Sᴴ Fᴴ (y + (1 − M) F S z), as Dar et al. 2020, doi:10.1002/mrm.28148, do. The k-space of S x then
    agrees with y as far as the maps explain it.

    Args:
        image: z, `(slice, y, x)` complex.
        measured: y and A.
        weight: λ, at least 0, or `(slice, 1, 1)` of them; None for an infinite one.
        n_iterations: of conjugate gradients.

    Returns:
        x, `(slice, y, x)`. Differentiable in z, y (by `Measured.zero_filled`) and λ, not in the coil maps.
    """
    if weight is None:
        kept = image if measured.coil_power is None else measured.coil_power * image
        return kept + (measured.zero_filled - _normal(image, measured))
    if measured.coil_power is None:
        step = weight / (1 + weight)
        return image + step * (measured.zero_filled - _normal(image, measured))
    weight = torch.as_tensor(weight, dtype=image.real.dtype)
    return regularised_solve(image, measured.zero_filled, weight, measured.normal, n_iterations)


def regularised_solve(
    image: torch.Tensor,
    adjoint: torch.Tensor,
    weight: torch.Tensor,
    normal: Callable[[torch.Tensor], torch.Tensor],
    n_iterations: int,
) -> torch.Tensor:
    """x of (I + λN) x = z + λr by conjugate gradients from z on, each slice on its own.

    Args:
        image: z, `(slice, …)` complex.
        adjoint: r = Aᴴ y, of the same shape.
        weight: λ, at least 0, of a shape that broadcasts against z.
        normal: N = AᴴA.
        n_iterations: applications of N.

    Returns:
        x. Differentiable in z, r and λ, whatever N does inside: the gradient comes from another such solve.
    """
    solved: torch.Tensor = _RegularisedSolve.apply(  # type: ignore[no-untyped-call]
        image, adjoint, weight, normal, n_iterations
    )
    return solved


def _normal(image: torch.Tensor, measured: Measured) -> torch.Tensor:
    result: torch.Tensor = _Normal.apply(image, measured.normal)  # type: ignore[no-untyped-call]
    return result


class _Normal(torch.autograd.Function):
    """N x, whose gradient is N again, without a record of what N does inside."""

    @staticmethod
    def forward(ctx: Any, image: torch.Tensor, normal: LinearOperator) -> torch.Tensor:
        ctx.normal = normal
        return normal(image)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return ctx.normal(gradient.resolve_conj()), None


class _RegularisedSolve(torch.autograd.Function):
    """x = (I + λN)⁻¹ (z + λr).

    From the gradient g of x follow v = (I + λN)⁻¹ g, the gradient of z, λv, of r, and Re⟨v, r − Nx⟩, of λ.
    """

    @staticmethod
    def forward(
        ctx: Any,
        image: torch.Tensor,
        zero_filled: torch.Tensor,
        weight: torch.Tensor,
        normal: Callable[[torch.Tensor], torch.Tensor],
        n_iterations: int,
    ) -> torch.Tensor:
        ctx.normal, ctx.n_iterations = normal, n_iterations
        x = conjugate_gradient(
            lambda x: normal(x).mul_(weight).add_(x),
            image + weight * zero_filled,
            n_iterations=n_iterations,
            x0=image,
            n_batch_axes=1,
        )
        ctx.save_for_backward(x, zero_filled, weight)
        return x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, zero_filled, weight = ctx.saved_tensors
        normal = ctx.normal
        v = conjugate_gradient(
            lambda x: normal(x).mul_(weight).add_(x),
            gradient.resolve_conj(),
            n_iterations=ctx.n_iterations,
            n_batch_axes=1,
        )
        for_weight = None
        if ctx.needs_input_grad[2]:
            per_pixel = (v.conj() * (zero_filled - normal(x))).real
            for_weight = per_pixel.sum_to_size(weight.shape)
        return v, weight * v, for_weight, None, None
