"""The alternating direction method of multipliers, with conjugate gradients inside."""

from collections.abc import Callable

import torch

from recon_core.solve.conjugate_gradient import conjugate_gradient


def admm(
    normal_op: Callable[[torch.Tensor], torch.Tensor],
    rhs: torch.Tensor,
    prox: Callable[[torch.Tensor, float], torch.Tensor],
    *,
    penalty: float,
    n_iterations: int = 20,
    n_inner_iterations: int = 20,
) -> torch.Tensor:
    """Minimise ½ <x, N x> − Re <b, x> + g(x), which is ½ ‖A x − y‖² + g(x) for N = AᴴA and b = Aᴴ y.

    With x = z and the scaled dual u, from zero: x ← argmin ½ <x, N x> − Re <b, x> + ρ/2 ‖x − z + u‖² by
    conjugate gradients from the last x, z ← prox(x + u), u ← u + x − z. Boyd et al. 2011,
    doi:10.1561/2200000016. For g = λ‖Ψ x‖₁ with an orthogonal Ψ, z is Ψᴴ of the usual auxiliary variable.

    Args:
        normal_op: N, Hermitian positive semi-definite.
        rhs: b.
        prox: ``prox(x, step)`` = argmin_z ½ ‖z − x‖² + step · g(z).
        penalty: ρ, positive; any converges, of the order of the eigenvalues of N that matter soonest.
        n_iterations: of the three steps.
        n_inner_iterations: applications of N in each.

    Returns:
        x, which fits the data; z, which is sparse, comes near it.
    """
    x = auxiliary = dual = torch.zeros_like(rhs)
    for _ in range(n_iterations):
        x = conjugate_gradient(
            lambda v: normal_op(v).add_(v, alpha=penalty),
            rhs + penalty * (auxiliary - dual),
            n_iterations=n_inner_iterations,
            x0=x,
        )
        auxiliary = prox(x + dual, 1 / penalty)
        dual = dual + x - auxiliary
    return x
