"""The normal operator as a convolution, against forward and adjoint one after the other."""

import pytest
import torch

from recon_core.errors import InputError
from recon_core.nufft import Nufft
from recon_core.testing import assert_linear_operator
from recon_core.toeplitz import ToeplitzOperator


def _noise(*shape: int, dtype: torch.dtype = torch.complex128, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def _nufft_op(shape: tuple[int, int, int], *leading: int, dtype: torch.dtype = torch.complex128) -> Nufft:
    uniform = torch.rand(*leading, 6, 9, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return Nufft((uniform - 0.5) * torch.tensor(shape[::-1]), shape, dtype=dtype)


@pytest.mark.parametrize("shape", [(1, 12, 12), (1, 9, 14), (5, 6, 7), (1, 1, 8)])
@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
def test_normal_is_adjoint_after_forward(shape, dtype):
    nufft_op = _nufft_op(shape, dtype=dtype)
    image = _noise(3, *shape, dtype=dtype)
    expected = nufft_op.H(nufft_op(image))
    assert not nufft_op.normal.kernel.is_complex()
    distance = (nufft_op.normal(image) - expected).norm() / expected.norm()
    assert distance < (3e-6 if dtype == torch.complex64 else 1e-11)


@pytest.mark.parametrize("weights_dtype", [torch.float64, torch.complex128])
def test_weights_stand_between_forward_and_adjoint(weights_dtype):
    """Complex ones too, of which the operator is no longer its own adjoint."""
    shape = (1, 10, 11)
    nufft_op = _nufft_op(shape)
    weights = _noise(4, 6, 9, dtype=weights_dtype)
    toeplitz_op = nufft_op.weighted_normal(weights)
    image = _noise(4, *shape)
    torch.testing.assert_close(toeplitz_op(image), nufft_op.H(weights * nufft_op(image)))
    assert_linear_operator(toeplitz_op, image.shape)


def test_frames_have_kernels_of_their_own():
    shape = (1, 8, 9)
    nufft_op = _nufft_op(shape, 3, 1)
    image = _noise(3, 2, *shape)
    torch.testing.assert_close(nufft_op.normal(image), nufft_op.H(nufft_op(image)))


def test_is_differentiable():
    image = _noise(1, 4, 5).requires_grad_()
    assert torch.autograd.gradcheck(_nufft_op((1, 4, 5)).normal, image)


def test_refuses_images_of_another_size():
    with pytest.raises(InputError, match=r"Toeplitz: expected images .* of \(1, 8, 8\), got \(1, 8, 9\)"):
        ToeplitzOperator(torch.zeros(1, 16, 16))(_noise(1, 8, 9))
