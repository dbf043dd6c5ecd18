"""Finite differences and total variation against closed forms."""

import pytest
import sigpy as sp
import torch

from recon_core.solve.power_method import largest_eigenvalue
from recon_core.solve.total_variation import FiniteDifference, total_variation
from recon_core.testing import assert_linear_operator


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.complex128, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("shape", [(4, 5, 6), (1, 5, 4), (1, 7, 1), (1, 1, 1), (2, 3, 1, 4, 5)])
def test_finite_difference_is_a_linear_operator_within_its_bound(shape: tuple[int, ...]) -> None:
    operator = FiniteDifference(shape)
    assert operator(noise(*shape)).shape == (*shape[:-3], len(operator.axes), *shape[-3:])
    if operator.axes:
        assert_linear_operator(operator, shape)
    largest = largest_eigenvalue(operator.normal, noise(*shape), n_iterations=50)
    assert largest <= operator.max_eigenvalue_bound


def test_finite_difference_is_that_of_sigpy() -> None:
    image = noise(3, 4, 5)
    expected = torch.from_numpy(sp.linop.FiniteDifference(image.shape)(image.numpy()))
    torch.testing.assert_close(FiniteDifference(image.shape)(image), expected)


def test_two_levels_move_towards_each_other_by_the_closed_form() -> None:
    """On a ring of two flat halves of n samples, each level moves by 2 · threshold / n."""
    step_image = torch.cat([torch.zeros(6), torch.ones(6)]).to(torch.complex128).reshape(1, 1, 12)
    x = total_variation(
        lambda x: x, step_image, torch.tensor(0.3).reshape(1, 1, 1), max_eigenvalue=1.0, n_iterations=4000
    )
    expected = torch.where(step_image.real > 0, 0.9, 0.1).to(torch.complex128)
    torch.testing.assert_close(x, expected, atol=1e-4, rtol=0)


def test_a_large_threshold_leaves_the_mean() -> None:
    image = noise(1, 6, 5)
    x = total_variation(
        lambda x: x, image, torch.tensor(10.0).reshape(1, 1, 1), max_eigenvalue=1.0, n_iterations=2000
    )
    torch.testing.assert_close(x, image.mean().expand_as(image), atol=1e-4, rtol=0)


def test_no_threshold_solves_the_linear_problem() -> None:
    image = noise(1, 6, 5)
    zero = torch.zeros(1, 1, 1, dtype=torch.float64)
    x = total_variation(lambda x: 0.5 * x, image, zero, max_eigenvalue=0.5, n_iterations=200)
    torch.testing.assert_close(x, 2 * image)
