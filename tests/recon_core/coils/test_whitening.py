"""Whitened noise is white; what cannot be whitened says so."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recon_core.coils.whitening import noise_bandwidth_scale, noise_covariance, whitening_matrix
from recon_core.errors import CalibrationError, InputError


def noise(n_coils: int, n_samples: int, seed: int = 0, dtype: torch.dtype = torch.complex64) -> torch.Tensor:
    """Correlated noise with gains that differ a thousandfold."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(n_coils, n_coils, dtype=dtype, generator=generator)
    gains = torch.logspace(-5, -2, n_coils, dtype=torch.float64)[:, None].to(dtype)
    return gains * (mixing @ torch.randn(n_coils, n_samples, dtype=dtype, generator=generator))


def test_covariance_is_the_second_moment_numpy_computes() -> None:
    samples = noise(5, 400, dtype=torch.complex128)
    with_mean = torch.cat([samples, -samples], dim=1)
    expected = np.cov(with_mean.numpy(), bias=True)
    np.testing.assert_allclose(noise_covariance(with_mean).numpy(), expected, rtol=1e-10)


@settings(deadline=None, max_examples=25)
@given(n_coils=st.integers(1, 16), seed=st.integers(0, 99))
def test_whitened_noise_has_identity_covariance(n_coils: int, seed: int) -> None:
    samples = noise(n_coils, 1000, seed, torch.complex128)
    whitening = whitening_matrix(noise_covariance(samples))
    identity = torch.eye(n_coils, dtype=torch.complex128)
    torch.testing.assert_close(noise_covariance(whitening @ samples), identity, rtol=0, atol=1e-8)
    assert not bool(whitening.triu(1).any())


def test_single_precision_copes_with_gains_a_thousandfold_apart() -> None:
    samples = noise(8, 4000)
    whitening = whitening_matrix(noise_covariance(samples))
    assert whitening.dtype == torch.complex64
    identity = torch.eye(8, dtype=torch.complex64)
    torch.testing.assert_close(noise_covariance(whitening @ samples), identity, rtol=0, atol=1e-3)


def test_whitening_maximises_the_signal_to_noise_ratio_of_a_matched_combination() -> None:
    samples = noise(6, 5000, dtype=torch.complex128)
    covariance = noise_covariance(samples)
    signal = torch.randn(6, dtype=torch.complex128, generator=torch.Generator().manual_seed(3))
    whitened = whitening_matrix(covariance) @ signal
    optimum = (signal.conj() @ torch.linalg.solve(covariance, signal)).real
    assert whitened.abs().square().sum() == pytest.approx(float(optimum), rel=1e-9)


def test_noise_of_a_scan_with_another_bandwidth_becomes_white() -> None:
    generator = torch.Generator().manual_seed(0)
    wideband = torch.randn(2, 40_000, dtype=torch.complex128, generator=generator)
    # Averaging four samples is a receiver with a quarter of the bandwidth and four times the dwell time.
    imaging = wideband.unflatten(1, (-1, 4)).mean(-1)
    scale = noise_bandwidth_scale(noise_dwell_time_us=2.5, imaging_dwell_time_us=10.0)
    whitening = whitening_matrix(noise_covariance(wideband), scale)
    variance = noise_covariance(whitening @ imaging).diagonal().real
    torch.testing.assert_close(variance, torch.ones_like(variance), rtol=0.05, atol=0)


def test_a_receiver_filter_that_hid_noise_lowers_the_whitening() -> None:
    assert noise_bandwidth_scale(5.0, 5.0, 0.79) == pytest.approx(0.79**0.5)


@pytest.mark.parametrize("broken", [(0.0, 1.0, 1.0), (1.0, -1.0, 1.0), (1.0, 1.0, float("nan"))])
def test_impossible_bandwidths_are_refused(broken: tuple[float, float, float]) -> None:
    with pytest.raises(InputError, match="positive"):
        noise_bandwidth_scale(*broken)


def test_a_dead_channel_is_named() -> None:
    samples = noise(4, 100)
    samples[2] = 0
    with pytest.raises(CalibrationError, match=r"channel\(s\) \[2\]"):
        whitening_matrix(noise_covariance(samples))


def test_a_duplicated_channel_is_refused() -> None:
    samples = noise(4, 100)
    samples[3] = 2j * samples[1]
    with pytest.raises(CalibrationError, match="singular"):
        whitening_matrix(noise_covariance(samples))


def test_fewer_samples_than_coils_are_refused() -> None:
    with pytest.raises(CalibrationError, match="as many noise samples as coils"):
        noise_covariance(noise(8, 7))


def test_noise_that_is_not_finite_is_refused() -> None:
    samples = noise(4, 100)
    samples[1, 5] = float("nan")
    with pytest.raises(CalibrationError, match="finite"):
        noise_covariance(samples)
