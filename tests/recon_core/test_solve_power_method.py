"""The power method against known spectra."""

import pytest
import torch

from recon_core.solve.power_method import largest_eigenvalue


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_power_method_finds_the_largest_eigenvalue_from_below(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    A = torch.randn(9, 6, dtype=dtype, generator=generator)
    start = torch.randn(6, dtype=dtype, generator=generator)
    expected = float(torch.linalg.matrix_norm(A, 2)) ** 2
    estimates = [
        largest_eigenvalue(lambda x: A.mH @ (A @ x), start, n_iterations=n_iterations)
        for n_iterations in (2, 5, 60)
    ]
    assert estimates == sorted(estimates)
    assert estimates[-1] <= expected * (1 + 1e-12)
    assert estimates[-1] == pytest.approx(expected, rel=1e-3)


def test_the_zero_operator_has_eigenvalue_zero() -> None:
    assert largest_eigenvalue(torch.zeros_like, torch.ones(3)) == 0
