"""Total variation: finite differences, and a primal-dual solver."""

from collections.abc import Callable, Sequence

import torch

from recon_core.linop import LinearOperator

SPATIAL_AXES = (-3, -2, -1)

DUAL_STEP = 0.03
"""Dual step size over the largest eigenvalue of N. Any positive value converges; for thresholds from 3e-4 to
2e-2 of max |b| this one brings the objective within 2 % of its minimum in 100 iterations."""


class FiniteDifference(LinearOperator):
    """Periodic backward differences, G x = (x − x rolled by one) along each axis longer than one.

    (*batch, z, y, x) to (*batch, axis, z, y, x). The largest eigenvalue of GᴴG is at most 4 an axis.
    """

    def __init__(self, shape: Sequence[int]) -> None:
        self.axes = [axis for axis in SPATIAL_AXES if shape[axis] > 1]
        self.max_eigenvalue_bound = 4.0 * len(self.axes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """G x."""
        if not self.axes:
            return x.new_zeros(*x.shape[:-3], 0, *x.shape[-3:])
        return torch.stack([x - x.roll(1, axis) for axis in self.axes], dim=-4)

    def adjoint(self, y: torch.Tensor) -> torch.Tensor:
        """Gᴴ y."""
        x = y.new_zeros(*y.shape[:-4], *y.shape[-3:])
        for axis, difference in zip(self.axes, y.unbind(-4), strict=True):
            x += difference - difference.roll(-1, axis)
        return x


def total_variation(
    normal_op: Callable[[torch.Tensor], torch.Tensor],
    rhs: torch.Tensor,
    threshold: torch.Tensor,
    *,
    max_eigenvalue: float,
    n_iterations: int,
) -> torch.Tensor:
    """Minimise ½ <x, N x> − Re <b, x> + threshold · ‖G x‖₁ by the primal-dual method, from x = 0.

    Condat 2013, doi:10.1007/s10957-012-0245-9, and Vu 2013, doi:10.1007/s10444-011-9254-8: one gradient step
    on the data and one projection of the dual an iteration, no inner problem.

    Args:
        normal_op: N, Hermitian positive semi-definite.
        rhs: b, (*batch, z, y, x).
        threshold: weight of the total variation; a tensor that broadcasts to `rhs`.
        max_eigenvalue: of N, or more.
        n_iterations: applications of N.
    """
    gradient_op = FiniteDifference(rhs.shape)
    dual_step = DUAL_STEP * max_eigenvalue
    primal_step = 1 / (max_eigenvalue / 2 + dual_step * gradient_op.max_eigenvalue_bound)
    x = torch.zeros_like(rhs)
    dual = gradient_op(x)
    limit = threshold.unsqueeze(-4).clamp_min(torch.finfo(threshold.dtype).tiny)
    for _ in range(n_iterations):
        gradient = normal_op(x) - rhs + gradient_op.H(dual)
        last_x, x = x, x - primal_step * gradient
        dual = dual + dual_step * gradient_op(2 * x - last_x)
        dual = dual / (dual.abs() / limit).clamp_min(1)
    return x
