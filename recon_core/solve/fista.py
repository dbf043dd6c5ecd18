"""Accelerated proximal gradients."""

import math
from collections.abc import Callable

import torch


def fista(
    normal_op: Callable[[torch.Tensor], torch.Tensor],
    rhs: torch.Tensor,
    prox: Callable[[torch.Tensor, float], torch.Tensor],
    *,
    step: float,
    n_iterations: int,
) -> torch.Tensor:
    """Minimise ½ <x, N x> − Re <b, x> + g(x), which is ½ ‖A x − y‖² + g(x) for N = AᴴA and b = Aᴴ y.

    Beck & Teboulle 2009, doi:10.1137/080716542, with a constant step, from x = 0.

    Args:
        normal_op: N, Hermitian positive semi-definite.
        rhs: b.
        prox: ``prox(x, step)`` = argmin_z ½ ‖z − x‖² + step · g(z); it may differ between calls, as a
            randomly shifted wavelet does.
        step: at most 1 / the largest eigenvalue of N.
        n_iterations: applications of N and of `prox`.
    """
    x = extrapolated = torch.zeros_like(rhs)
    momentum = 1.0
    for _ in range(n_iterations):
        gradient = normal_op(extrapolated) - rhs
        last_x, x = x, prox(extrapolated - step * gradient, step)
        last_momentum, momentum = momentum, (1 + math.sqrt(1 + 4 * momentum**2)) / 2
        extrapolated = torch.lerp(last_x, x, 1 + (last_momentum - 1) / momentum)
    return x
