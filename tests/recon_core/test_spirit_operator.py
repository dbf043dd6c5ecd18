"""The SPIRiT operator against its sum, against itself in the other space, and the laws of operators."""

from itertools import product

import pytest
import torch

from recon_core.errors import InputError
from recon_core.fourier import fft, ifft, resize
from recon_core.spirit_operator import CoilMixing, SpiritConvolution, spirit_matrices
from recon_core.testing import assert_linear_operator

PLANE = (-2, -1)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.complex128, generator=torch.Generator().manual_seed(seed))


def summed(kernel: torch.Tensor, kspace: torch.Tensor, *, wraps: bool) -> torch.Tensor:
    """(G y)_i(p) = Σ_j Σ_k g_ij(k) y_j(p + k), term by term."""
    _, n_y, n_x = kspace.shape
    half_y, half_x = (width // 2 for width in kernel.shape[-2:])
    result = torch.zeros_like(kspace)
    for y, x, a, b in product(range(n_y), range(n_x), *(range(width) for width in kernel.shape[-2:])):
        at_y, at_x = y + a - half_y, x + b - half_x
        if wraps or (0 <= at_y < n_y and 0 <= at_x < n_x):
            result[:, y, x] += kernel[:, :, a, b] @ kspace[:, at_y % n_y, at_x % n_x]
    return result


@pytest.mark.parametrize(("grid", "widths"), [((9, 8), (5, 5)), ((10, 7), (3, 7)), ((8, 8), (7, 7))])
def test_convolution_is_the_sum_over_neighbours(grid: tuple[int, int], widths: tuple[int, int]) -> None:
    kernel, kspace = noise(3, 3, *widths), noise(3, *grid, seed=1)
    torch.testing.assert_close(SpiritConvolution(kernel)(kspace), summed(kernel, kspace, wraps=False))


@pytest.mark.parametrize(("grid", "widths"), [((9, 8), (5, 5)), ((10, 7), (3, 7)), ((8, 8), (7, 7))])
def test_matrices_at_each_pixel_are_the_sum_over_neighbours(
    grid: tuple[int, int], widths: tuple[int, int]
) -> None:
    kernel, kspace = noise(3, 3, *widths), noise(3, *grid, seed=1)
    image = CoilMixing(spirit_matrices(kernel, grid))(ifft(kspace, PLANE))
    torch.testing.assert_close(fft(image, PLANE), summed(kernel, kspace, wraps=True))


def test_both_forms_agree_away_from_the_edges_of_kspace() -> None:
    kernel, kspace = noise(2, 4, 4, 7, 7), resize(noise(2, 4, 14, 15, seed=1), (20, 21))
    mixed = CoilMixing(spirit_matrices(kernel, (20, 21)))(ifft(kspace, PLANE))
    convolved = torch.stack([SpiritConvolution(g)(y) for g, y in zip(kernel, kspace, strict=True)])
    torch.testing.assert_close(fft(mixed, PLANE), convolved)


def test_origin_first_moves_the_pixels_and_nothing_else() -> None:
    kernel = noise(2, 2, 5, 3)
    shifted = torch.fft.ifftshift(spirit_matrices(kernel, (9, 8)), dim=-2)
    torch.testing.assert_close(spirit_matrices(kernel, (9, 8), origin_first=(-2,)), shifted)


def test_convolution_is_a_linear_operator() -> None:
    assert_linear_operator(SpiritConvolution(noise(3, 3, 5, 7)), (2, 3, 9, 8))


def test_mixing_is_a_linear_operator_in_blocks_of_any_number_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recon_core.spirit_operator.BLOCK_ELEMENTS", 100)
    assert_linear_operator(CoilMixing(noise(2, 3, 4, 9, 8)), (2, 4, 9, 8))
    assert_linear_operator(CoilMixing(noise(3, 4, 9, 8)), (5, 4, 9, 8))


def test_mixing_of_complex64_follows_complex128() -> None:
    matrices, images = noise(8, 8, 48, 40), noise(8, 48, 40, seed=1)
    narrow = CoilMixing(matrices.to(torch.complex64))(images.to(torch.complex64))
    torch.testing.assert_close(narrow, CoilMixing(matrices)(images).to(torch.complex64))


def test_gradient_of_mixing_is_that_of_finite_differences() -> None:
    mixing_op = CoilMixing(noise(2, 3, 3, 5, 4))
    images = noise(2, 3, 5, 4, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(mixing_op, images, fast_mode=True)
    assert torch.autograd.gradcheck(mixing_op.H, images, fast_mode=True)
    assert torch.autograd.gradgradcheck(mixing_op, images, fast_mode=True)


def test_matrices_without_coil_axes_are_refused() -> None:
    with pytest.raises(InputError, match="coil, coil, y, x"):
        CoilMixing(noise(3, 9, 8))


@pytest.mark.cuda
def test_cuda_agrees_with_cpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    matrices, images = noise(2, 3, 3, 19, 16), noise(2, 3, 19, 16, seed=1)
    on_gpu = CoilMixing(matrices.cuda())
    torch.testing.assert_close(on_gpu(images.cuda()).cpu(), CoilMixing(matrices)(images))
    torch.testing.assert_close(on_gpu.H(images.cuda()).cpu(), CoilMixing(matrices).H(images))
    torch.testing.assert_close(on_gpu.normal(images.cuda()).cpu(), CoilMixing(matrices).normal(images))
