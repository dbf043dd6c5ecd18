"""The alternating direction method against closed forms and SciPy's solution of the lasso."""

import numpy as np
import torch
from scipy.optimize import minimize

from recon_core.solve.admm import admm


def soft(x: torch.Tensor, threshold: float) -> torch.Tensor:
    return x.sgn() * (x.abs() - threshold).clamp_min(0)


def test_a_diagonal_problem_ends_at_its_closed_form() -> None:
    generator = torch.Generator().manual_seed(0)
    d = torch.rand(50, dtype=torch.float64, generator=generator) + 0.5
    b = torch.randn(50, dtype=torch.complex128, generator=generator)
    x = admm(
        lambda v: d * v,
        b,
        lambda v, step: soft(v, 0.4 * step),
        penalty=0.7,
        n_iterations=60,
        n_inner_iterations=8,
    )
    torch.testing.assert_close(x, soft(b, 0.4) / d)


def test_the_lasso_is_the_one_scipy_finds() -> None:
    generator = torch.Generator().manual_seed(1)
    A = torch.randn(20, 8, dtype=torch.float64, generator=generator)
    b = A.mT @ torch.randn(20, dtype=torch.float64, generator=generator)
    N, weight = A.mT @ A, 2.0
    x = admm(
        lambda v: N @ v,
        b,
        lambda v, step: soft(v, weight * step),
        penalty=5.0,
        n_iterations=100,
        n_inner_iterations=6,
    )

    def objective(parts: np.ndarray) -> float:
        v = parts[:8] - parts[8:]
        return float(v @ N.numpy() @ v / 2 - b.numpy() @ v + weight * parts.sum())

    best = minimize(objective, np.ones(16), bounds=[(0, None)] * 16, options={"ftol": 1e-15, "gtol": 1e-9})
    torch.testing.assert_close(x, torch.from_numpy(best.x[:8] - best.x[8:]), rtol=0, atol=1e-4)


def test_what_is_zero_stays_zero() -> None:
    zero = torch.zeros(3, 4, dtype=torch.complex64)
    assert torch.equal(admm(lambda v: 2 * v, zero, soft, penalty=1.0), zero)
