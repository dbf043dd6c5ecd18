"""The two forms of one wavelet level against PyWavelets."""

import pytest
import pywt
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recon_core.wavelet_level import BandedLevel, DenseLevel, wavelet_level


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("length", "form"),
    [(64, DenseLevel), (129, DenseLevel), (254, DenseLevel), (230, BandedLevel), (256, BandedLevel)],
)
def test_long_lengths_that_fall_into_blocks_are_banded(length: int, form: type) -> None:
    assert isinstance(wavelet_level(length, "db4", torch.float64, "cpu"), form)


@given(
    st.sampled_from([64, 128, 130, 180, 256]),
    st.integers(-300, 300),
    st.sampled_from([-3, -2, -1]),
    st.sampled_from(["haar", "db3", "db4"]),
)
@settings(max_examples=40, deadline=None)
def test_a_level_is_that_of_pywavelets_and_is_inverted(length: int, shift: int, axis: int, name: str) -> None:
    shape = [2, 3, 2, 3]
    shape[axis] = length
    array, level = noise(*shape), wavelet_level(length, name, torch.float64, "cpu")
    bands = pywt.dwt(array.roll(shift, axis).numpy(), name, mode="periodization", axis=axis)
    coefficients = level.analyse(array, axis, shift)
    torch.testing.assert_close(coefficients, torch.cat([torch.from_numpy(band) for band in bands], axis))
    torch.testing.assert_close(level.synthesise(coefficients, axis, shift), array)
