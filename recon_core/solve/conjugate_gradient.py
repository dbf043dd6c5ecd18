"""The method of conjugate gradients."""

from collections.abc import Callable

import torch


def conjugate_gradient(
    normal_op: Callable[[torch.Tensor], torch.Tensor],
    rhs: torch.Tensor,
    *,
    n_iterations: int,
    tolerance: float = 0.0,
    x0: torch.Tensor | None = None,
    n_batch_axes: int = 0,
) -> torch.Tensor:
    """Solve N x = b for a Hermitian positive semi-definite N.

    Hestenes & Stiefel 1952, doi:10.6028/jres.049.044.

    Args:
        normal_op: N, for instance ``A.normal`` of a linear operator.
        rhs: b, for instance Aᴴ y.
        n_iterations: applications of N at most.
        tolerance: stop when ‖b − N x‖ ≤ tolerance · ‖b‖; 0 makes every iteration, without waiting for a norm.
        x0: first guess; zero if None.
        n_batch_axes: leading axes of `rhs` that count separate problems, each with its own step sizes. They
            stop together, when the last has reached the tolerance.

    Returns:
        x, of the shape of `rhs`; zero where `rhs` is zero.
    """
    x = torch.zeros_like(rhs) if x0 is None else x0.clone()
    residual = rhs.clone() if x0 is None else rhs - normal_op(x)
    direction = residual.clone()
    power = _real_dot(residual, residual, n_batch_axes)
    threshold = tolerance**2 * _real_dot(rhs, rhs, n_batch_axes)
    for _ in range(n_iterations):
        if tolerance > 0 and bool((power <= threshold).all()):
            break
        N_direction = normal_op(direction)
        step = _ratio_or_zero(power, _real_dot(direction, N_direction, n_batch_axes))
        x.addcmul_(step, direction)
        residual.addcmul_(step, N_direction, value=-1)
        power, last_power = _real_dot(residual, residual, n_batch_axes), power
        direction.mul_(_ratio_or_zero(power, last_power)).add_(residual)
    return x


def _real_dot(a: torch.Tensor, b: torch.Tensor, n_batch_axes: int) -> torch.Tensor:
    """Re <a, b> over all but the batch axes, kept as axes of length one."""
    n_summed_axes = a.ndim - n_batch_axes
    if a.is_complex():
        a, b = torch.view_as_real(a.resolve_conj()), torch.view_as_real(b.resolve_conj())
    product: torch.Tensor = torch.linalg.vecdot(a.flatten(n_batch_axes), b.flatten(n_batch_axes))
    return product.reshape(*product.shape, *[1] * n_summed_axes)


def _ratio_or_zero(numerator: torch.Tensor, denominator: torch.Tensor) -> torch.Tensor:
    """An exactly solved problem has 0 / 0 here, and needs no further step."""
    return torch.where(denominator > 0, numerator / denominator, 0)
