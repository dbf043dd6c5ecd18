"""Conjugate gradients against dense solvers."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recon_core.solve.conjugate_gradient import conjugate_gradient


def noise(*shape: int, dtype: torch.dtype = torch.complex128, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


@given(st.integers(1, 8), st.integers(0, 99), st.sampled_from([torch.float64, torch.complex128]))
@settings(max_examples=25, deadline=None)
def test_n_iterations_solve_n_unknowns(n_unknowns: int, seed: int, dtype: torch.dtype) -> None:
    A = noise(n_unknowns, n_unknowns, dtype=dtype, seed=seed)
    N = A.mH @ A + torch.eye(n_unknowns)
    rhs = noise(n_unknowns, dtype=dtype, seed=seed + 1)
    x = conjugate_gradient(lambda x: N @ x, rhs, n_iterations=2 * n_unknowns)
    torch.testing.assert_close(x, torch.linalg.solve(N, rhs), rtol=1e-6, atol=1e-8)


def test_each_item_of_a_batch_has_its_own_steps() -> None:
    N = torch.diag(torch.arange(1.0, 6, dtype=torch.float64)).to(torch.complex128)
    rhs = noise(2, 3, 5) * torch.tensor([1, 1e-6, 1e6]).reshape(3, 1)
    batch = conjugate_gradient(lambda x: x @ N, rhs, n_iterations=3, n_batch_axes=2)
    alone = torch.stack(
        [conjugate_gradient(lambda x: x @ N, item, n_iterations=3) for item in rhs.flatten(0, 1)]
    )
    torch.testing.assert_close(batch.flatten(0, 1), alone)


def test_a_solved_or_empty_problem_stays_solved() -> None:
    rhs = torch.stack([noise(4), torch.zeros(4, dtype=torch.complex128)])
    x = conjugate_gradient(lambda x: 2 * x, rhs, n_iterations=5, n_batch_axes=1)
    torch.testing.assert_close(x, rhs / 2)
    assert torch.equal(x[1], rhs[1])


def test_the_solution_as_first_guess_is_returned_unchanged_and_not_overwritten() -> None:
    rhs = noise(4)
    guess = rhs / 2
    x = conjugate_gradient(lambda x: 2 * x, rhs, n_iterations=5, tolerance=1e-9, x0=guess)
    assert torch.equal(x, guess)
    assert x.data_ptr() != guess.data_ptr()


@pytest.mark.parametrize("tolerance", [1e-1, 1e-4])
def test_tolerance_bounds_the_residual_and_saves_iterations(tolerance: float) -> None:
    eigenvalues = torch.linspace(1, 100, 60, dtype=torch.float64)
    rhs, n_applied = noise(60), 0

    def normal_op(x: torch.Tensor) -> torch.Tensor:
        nonlocal n_applied
        n_applied += 1
        return eigenvalues * x

    x = conjugate_gradient(normal_op, rhs, n_iterations=60, tolerance=tolerance)
    assert float((eigenvalues * x - rhs).norm()) <= 1.001 * tolerance * float(rhs.norm())
    assert n_applied < 60
