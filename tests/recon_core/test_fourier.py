"""The Fourier transform against a direct sum and against BART."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recon_core import fourier


def complex_noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.complex128, generator=torch.Generator().manual_seed(seed))


def direct_centred_dft(length: int) -> torch.Tensor:
    positions = torch.arange(length, dtype=torch.float64) - length // 2
    return torch.exp(-2j * math.pi * positions[:, None] * positions / length) / math.sqrt(length)


@given(st.integers(1, 6), st.integers(1, 9), st.integers(1, 9))
@settings(max_examples=25, deadline=None)
def test_fft_is_the_centred_direct_sum_for_odd_and_even_sizes(nz: int, ny: int, nx: int) -> None:
    image = complex_noise(2, nz, ny, nx)
    Fz, Fy, Fx = (direct_centred_dft(length) for length in (nz, ny, nx))
    expected = torch.einsum("ai,bj,ck,nijk->nabc", Fz, Fy, Fx, image)
    torch.testing.assert_close(fourier.fft(image), expected)


@given(st.integers(1, 6), st.integers(1, 9), st.integers(1, 9))
@settings(max_examples=25, deadline=None)
def test_ifft_inverts_fft_and_preserves_the_norm(nz: int, ny: int, nx: int) -> None:
    image = complex_noise(nz, ny, nx)
    kspace = fourier.fft(image)
    torch.testing.assert_close(fourier.ifft(kspace), image)
    torch.testing.assert_close(kspace.norm(), image.norm())


@pytest.mark.parametrize("axes", [(-1,), (-2, -1), (-3,), (-3, -1)])
def test_fft_transforms_only_the_axes_named(axes: tuple[int, ...]) -> None:
    image = complex_noise(3, 4, 5)
    expected = image
    for axis in axes:
        matrix = direct_centred_dft(image.shape[axis])
        expected = torch.tensordot(expected, matrix, dims=([axis], [1])).movedim(-1, axis)
    torch.testing.assert_close(fourier.fft(image, axes), expected)


def test_fft_agrees_with_the_unitary_fft_of_bart(bart: Callable[..., list[torch.Tensor]]) -> None:
    image = complex_noise(3, 6, 7).to(torch.complex64)
    (expected,) = bart("fft -u 7", image)
    torch.testing.assert_close(fourier.fft(image), expected)


@given(st.integers(1, 9), st.integers(1, 9))
def test_resize_keeps_the_centre_and_zeros_the_rest(length: int, wanted: int) -> None:
    array = torch.arange(1, length + 1)
    resized = fourier.resize(array, (wanted,))
    for position in range(wanted):
        source = position - wanted // 2 + length // 2
        assert resized[position] == (array[source] if 0 <= source < length else 0)


def test_resize_crops_one_axis_while_it_pads_another() -> None:
    resized = fourier.resize(torch.ones(4, 5), (2, 7))
    assert resized.shape == (2, 7)
    assert resized.sum() == 10


def test_one_large_single_precision_image_keeps_its_norm() -> None:
    """torch 2.13 on the CPU scales this very shape wrongly when asked for an orthonormal transform."""
    image = complex_noise(1, 2048, 2048)
    kspace = fourier.fft(image.to(torch.complex64))
    torch.testing.assert_close(kspace.to(image.dtype), fourier.fft(image), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(fourier.ifft(kspace).to(image.dtype), image, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("shape", [(24, 17), (9, 40), (13, 13)])
def test_resampling_evaluates_the_trigonometric_series_of_an_image_on_the_other_grid(
    shape: tuple[int, int],
) -> None:
    generator = torch.Generator().manual_seed(0)
    kspace = torch.randn(2, 9, 7, dtype=torch.complex128, generator=generator)

    def series(n: tuple[int, int]) -> torch.Tensor:
        """Σ_k c_k exp(2πi k·r) at r = (j − n // 2) / n, of frequencies that every grid here resolves."""
        frequencies = [torch.arange(m, dtype=torch.float64) - m // 2 for m in (9, 7)]
        positions = [(torch.arange(m, dtype=torch.float64) - m // 2) / m for m in n]
        turns = [torch.outer(k, r) for k, r in zip(frequencies, positions, strict=True)]
        return torch.einsum("skl,ky,lx->syx", kspace, *(torch.exp(2j * torch.pi * t) for t in turns))

    torch.testing.assert_close(fourier.resampled(series((15, 16)), shape), series(shape))
