"""The operator algebra on small dense matrices."""

import pytest
import torch

from recon_core.linop import LinearOperator
from recon_core.testing import assert_linear_operator


class Dense(LinearOperator):
    def __init__(self, matrix: torch.Tensor) -> None:
        self.matrix = matrix

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.matrix @ x

    def adjoint(self, y: torch.Tensor) -> torch.Tensor:
        return self.matrix.mH @ y


class WrongAdjoint(Dense):
    def adjoint(self, y: torch.Tensor) -> torch.Tensor:
        return self.matrix.mT @ y


class WrongNormal(Dense):
    @property
    def normal(self) -> LinearOperator:
        return Dense(torch.eye(self.matrix.shape[1], dtype=self.matrix.dtype))


class NotLinear(Dense):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.matrix @ x + 1


def matrix(n_rows: int, n_columns: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n_rows, n_columns, dtype=torch.complex128, generator=generator)


@pytest.mark.parametrize(
    "operator",
    [
        Dense(matrix(4, 3)),
        Dense(matrix(3, 4)).H,
        Dense(matrix(4, 5)) @ Dense(matrix(5, 3)),
        Dense(matrix(4, 3)) + Dense(matrix(4, 3, seed=1)),
        Dense(matrix(4, 3)).normal,
        (Dense(matrix(3, 4)).H + Dense(matrix(4, 5)) @ Dense(matrix(5, 3))).H.H,
    ],
)
def test_every_combination_of_operators_is_a_linear_operator(operator: LinearOperator) -> None:
    assert_linear_operator(operator, (3,))


def test_combinations_are_those_of_their_matrices() -> None:
    A, B, C = matrix(4, 5), matrix(5, 3), matrix(4, 3)
    x = matrix(3, 1, seed=2)[:, 0]
    combined = (Dense(A) @ Dense(B) + Dense(C)).normal
    dense = A @ B + C
    torch.testing.assert_close(combined(x), dense.mH @ dense @ x)


@pytest.mark.parametrize(
    ("operator", "law"),
    [(WrongAdjoint, "adjoint"), (WrongNormal, "normal"), (NotLinear, "adjoint|linear")],
)
def test_the_conformance_kit_finds_an_operator_that_breaks_a_law(operator: type[Dense], law: str) -> None:
    with pytest.raises(AssertionError, match=law):
        assert_linear_operator(operator(matrix(4, 3)), (3,))
