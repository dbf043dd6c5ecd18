"""The wavelet transform against PyWavelets and the laws of an orthogonal matrix."""

import numpy as np
import pytest
import pywt
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recon_core.testing import assert_linear_operator
from recon_core.wavelet import Wavelet

shapes = st.tuples(st.sampled_from([1, 2, 15, 18]), st.integers(1, 48), st.integers(1, 48))


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.complex128, generator=torch.Generator().manual_seed(seed))


@given(shapes)
@settings(max_examples=25, deadline=None)
def test_wavelet_is_a_linear_operator_whose_adjoint_inverts_it_for_any_size(
    shape: tuple[int, int, int],
) -> None:
    wavelet = Wavelet(shape, dtype=torch.float64)
    image = noise(2, *shape)
    assert_linear_operator(wavelet, shape)
    torch.testing.assert_close(wavelet.H(wavelet(image)), image)
    torch.testing.assert_close(wavelet(wavelet.H(image)), image)


@pytest.mark.parametrize("shape", [(1, 64, 96), (1, 56, 256), (32, 64, 32)])
def test_coefficients_are_those_of_pywavelets(shape: tuple[int, int, int]) -> None:
    image = noise(*shape)
    wavelet = Wavelet(shape, dtype=torch.float64)
    axes = tuple(axis for axis in range(3) if shape[axis] > 1)
    n_levels = min(pywt.dwt_max_level(shape[axis], 8) for axis in axes)
    if len(wavelet.levels) > n_levels:  # 3-D: y has one level more than z and x
        shape_below = wavelet.blocks[n_levels]
        assert shape_below[0] < 14
        wavelet.levels = wavelet.levels[:n_levels]
    decomposition = pywt.wavedecn(image.numpy(), "db4", mode="periodization", axes=axes, level=n_levels)
    expected, _ = pywt.coeffs_to_array(decomposition, axes=axes)
    torch.testing.assert_close(wavelet(image), torch.from_numpy(expected))


@given(shapes, st.tuples(*[st.integers(-60, 60)] * 3))
@settings(max_examples=25, deadline=None)
def test_a_shifted_wavelet_is_the_wavelet_of_the_rolled_image(
    shape: tuple[int, int, int], shift: tuple[int, int, int]
) -> None:
    image, wavelet = noise(*shape), Wavelet(shape, dtype=torch.float64)
    transformed = [offset if length >= 14 else 0 for offset, length in zip(shift, shape, strict=True)]
    expected = wavelet(image.roll(transformed, (0, 1, 2)))
    torch.testing.assert_close(wavelet.shifted(shift)(image), expected)
    torch.testing.assert_close(wavelet.shifted(shift).H(expected), image)


def test_soft_threshold_shrinks_the_magnitude_of_every_coefficient() -> None:
    image, wavelet = noise(2, 1, 33, 32), Wavelet((1, 33, 32), dtype=torch.float64)
    coefficients = wavelet(wavelet.soft_threshold(image, 0.7)).numpy()
    expected = pywt.threshold(wavelet(image).numpy(), 0.7, mode="soft")
    np.testing.assert_allclose(coefficients, expected, atol=1e-12)


def test_soft_threshold_takes_a_threshold_for_each_image_and_leaves_zeros_zero() -> None:
    image, wavelet = noise(2, 1, 16, 16), Wavelet((1, 16, 16), dtype=torch.float64)
    image[1] = 0
    thresholded = wavelet.soft_threshold(image, torch.tensor([0.5, 0.0]).reshape(2, 1, 1, 1))
    torch.testing.assert_close(thresholded[0], wavelet.soft_threshold(image[0], 0.5))
    assert torch.equal(thresholded[1], torch.zeros_like(image[1]))


def test_real_images_have_the_coefficients_of_their_complex_selves() -> None:
    image, wavelet = noise(1, 30, 31), Wavelet((1, 30, 31), dtype=torch.float64)
    torch.testing.assert_close(wavelet(image.real), wavelet(image).real)
    real = torch.complex(image.real, torch.zeros_like(image.real))
    torch.testing.assert_close(
        wavelet.soft_threshold(image.real, 0.3), wavelet.soft_threshold(real, 0.3).real
    )


def test_polynomials_of_degree_three_have_no_detail_away_from_the_border() -> None:
    """The four vanishing moments of Daubechies-4."""
    cubic = torch.linspace(-1, 1, 64, dtype=torch.float64).pow(3).reshape(1, 64, 1)
    detail = Wavelet((1, 64, 1), dtype=torch.float64)(cubic)[0, 32:, 0]
    assert float(detail[4:-4].abs().max()) < 1e-10


def test_joint_threshold_of_one_coil_is_its_own_and_of_equal_coils_is_shared() -> None:
    image = torch.randn(1, 1, 32, 24, dtype=torch.complex128, generator=torch.Generator().manual_seed(0))
    wavelet = Wavelet((1, 32, 24), dtype=torch.float64)
    alone = wavelet.soft_threshold(image, 0.5)
    torch.testing.assert_close(wavelet.soft_threshold(image, 0.5, joint_axis=-4), alone)
    four = wavelet.soft_threshold(image.expand(4, 1, 32, 24) / 2, 0.5, joint_axis=-4)
    torch.testing.assert_close(four, (alone / 2).expand(4, 1, 32, 24))
