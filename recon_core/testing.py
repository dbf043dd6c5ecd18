"""The laws every linear operator has to obey, for the tests of this package and of others."""

from collections.abc import Sequence

import torch

from recon_core.linop import LinearOperator


def assert_linear_operator(
    operator: LinearOperator,
    domain_shape: Sequence[int],
    *,
    dtype: torch.dtype = torch.complex128,
    device: torch.device | str = "cpu",
    seed: int = 0,
    tolerance: float = 1e-10,
) -> None:
    """Check adjointness, linearity and the normal operator on random input.

    - <A x, y> = <x, Aᴴ y>, and A.H.H is A;
    - A(a x + z) = a A x + A z, and the same for Aᴴ, for a complex number a;
    - A.normal x = Aᴴ(A x), in value, shape and dtype.

    Raises AssertionError naming the law that fails; `tolerance` is relative to the norms involved.
    """
    generator = torch.Generator().manual_seed(seed)

    def noise(shape: Sequence[int]) -> torch.Tensor:
        return torch.randn(*shape, dtype=dtype, generator=generator).to(device)

    x, z = noise(domain_shape), noise(domain_shape)
    Ax = operator(x)
    y, w = noise(Ax.shape), noise(Ax.shape)
    AHy = operator.H(y)
    a = 0.3 - 1.7j if dtype.is_complex else -1.7

    _check(AHy.shape == x.shape, f"adjoint shape: expected {tuple(x.shape)}, got {tuple(AHy.shape)}")
    _check(Ax.dtype == AHy.dtype == dtype, f"dtype: expected {dtype}, got {Ax.dtype} and {AHy.dtype}")
    mismatch = torch.vdot(Ax.flatten(), y.flatten()) - torch.vdot(x.flatten(), AHy.flatten())
    scale = float(Ax.norm() * y.norm() + x.norm() * AHy.norm())
    _check(float(mismatch.abs()) <= tolerance * scale, "adjoint: <A x, y> differs from <x, A.H y>")
    _check_close(operator.H.H(x), Ax, tolerance, "A.H.H is not A")
    _check_close(operator(a * x + z), a * Ax + operator(z), tolerance, "forward is not linear")
    _check_close(operator.H(a * y + w), a * AHy + operator.H(w), tolerance, "adjoint is not linear")
    _check_close(operator.normal(x), operator.H(Ax), tolerance, "A.normal is not A.H A")
    _check_close(operator.normal.H(x), operator.H(Ax), tolerance, "A.normal is not its own adjoint")


def _check(holds: bool, law: str) -> None:
    if not holds:
        raise AssertionError(law)


def _check_close(actual: torch.Tensor, expected: torch.Tensor, tolerance: float, law: str) -> None:
    _check(actual.shape == expected.shape and actual.dtype == expected.dtype, f"{law} (shape or dtype)")
    distance = float((actual - expected).norm())
    _check(distance <= tolerance * float(expected.norm()), f"{law} (distance {distance:.3g})")
