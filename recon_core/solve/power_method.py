"""The largest eigenvalue of an operator."""

from collections.abc import Callable

import torch


def largest_eigenvalue(
    normal_op: Callable[[torch.Tensor], torch.Tensor], start: torch.Tensor, *, n_iterations: int = 30
) -> float:
    """Estimate the largest eigenvalue of a Hermitian positive semi-definite N by power iteration.

    The estimate ‖N x‖ / ‖x‖ approaches it from below; `start` must not be orthogonal to its eigenvector,
    which random numbers are not. An operator that is zero gives 0.
    """
    x = start
    eigenvalue = 0.0
    for _ in range(n_iterations):
        norm = float(x.norm())
        if norm == 0:
            return 0.0
        x = normal_op(x / norm)
        eigenvalue = float(x.norm())
    return eigenvalue
