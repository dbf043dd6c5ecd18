"""Linear operators on tensors: ``A(x)``, ``A.H(y)``, ``A @ B``, ``A + B`` and ``A.normal``."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch


class LinearOperator(ABC):
    """A linear map A with its adjoint, so that <A x, y> = <x, A.H y>.

    A subclass defines `forward` and `adjoint`, and overrides `normal` where AᴴA has a faster form.
    """

    @abstractmethod
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """A x."""

    @abstractmethod
    def adjoint(self, y: torch.Tensor) -> torch.Tensor:
        """Aᴴ y."""

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """A x."""
        return self.forward(x)

    @property
    def H(self) -> LinearOperator:  # noqa: N802  (the sign of the adjoint in every equation)
        """The adjoint Aᴴ."""
        return _Adjoint(self)

    @property
    def normal(self) -> LinearOperator:
        """AᴴA, which is its own adjoint."""
        return self.H @ self

    def __matmul__(self, other: LinearOperator) -> LinearOperator:
        """The composition: ``(A @ B)(x) = A(B(x))``."""
        return _Composition(self, other)

    def __add__(self, other: LinearOperator) -> LinearOperator:
        """The sum: ``(A + B)(x) = A(x) + B(x)``."""
        return _Sum(self, other)


class _Adjoint(LinearOperator):
    def __init__(self, operator: LinearOperator) -> None:
        self.operator = operator

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.operator.adjoint(x)

    def adjoint(self, y: torch.Tensor) -> torch.Tensor:
        return self.operator.forward(y)

    @property
    def H(self) -> LinearOperator:  # noqa: N802
        return self.operator


class _Composition(LinearOperator):
    def __init__(self, outer: LinearOperator, inner: LinearOperator) -> None:
        self.outer, self.inner = outer, inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.outer.forward(self.inner.forward(x))

    def adjoint(self, y: torch.Tensor) -> torch.Tensor:
        return self.inner.adjoint(self.outer.adjoint(y))


class _Sum(LinearOperator):
    def __init__(self, first: LinearOperator, second: LinearOperator) -> None:
        self.first, self.second = first, second

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.first.forward(x) + self.second.forward(x)

    def adjoint(self, y: torch.Tensor) -> torch.Tensor:
        return self.first.adjoint(y) + self.second.adjoint(y)
