"""The head and its simulated acquisition against closed forms and stated statistics."""

import math

import pytest
import torch

from recon_core.errors import InputError
from recon_core.fourier import fft, ifft, resize
from recon_core.metrics import nrmse
from recon_core.phantom import Ellipsoid, head_kspace, head_phantom
from recon_core.simulate import loop_coil_maps, simulate_acquisition


def test_sampling_finer_converges_to_the_closed_form_kspace() -> None:
    exact = head_kspace((64, 61), z_mm=9.0)
    errors = []
    for finer in (2, 4, 8):
        image = head_phantom((finer * 64, finer * 61), z_mm=9.0)[None].to(torch.complex128)
        errors.append(nrmse(resize(fft(image), (64, 61))[0] / finer, exact))
    assert errors[2] < errors[1] / 1.8 < errors[0] / 1.8**2
    assert errors[2] < 0.003


def test_kspace_at_the_centre_is_the_area_of_every_ellipse() -> None:
    centre = head_kspace((5, 5))[2, 2].real
    image = head_phantom((512, 512)).double()
    assert float(centre) / 5 == pytest.approx(float(image.mean()), rel=1e-3)


def test_the_head_is_one_object_on_every_grid() -> None:
    fine = head_phantom((384, 384), z_mm=5.0)
    coarse = head_phantom((128, 128), z_mm=5.0)
    # Both are centred on a sample, so three fine samples lie symmetrically about each coarse one.
    boxed = torch.nn.functional.avg_pool2d(fine.roll((1, 1), (0, 1))[None], 3)[0]
    assert nrmse(boxed, coarse) < 0.03


def test_the_head_stays_inside_the_field_of_view_and_is_never_strongly_negative() -> None:
    for z_mm in (-30.0, 0.0, 30.0):
        image = head_phantom((240, 240), z_mm=z_mm)
        assert image[:10].abs().max() == image[-10:].abs().max() == 0
        assert image[:, :10].abs().max() == image[:, -10:].abs().max() == 0
        assert image.min() > -0.2


def test_an_ellipsoid_is_cut_to_nothing_above_its_pole() -> None:
    ball = Ellipsoid(0, 0, 0, 10, 10, 10, 0, 1)
    cut = ball.cut(6.0)
    assert cut is not None
    assert cut.half_u_mm == pytest.approx(8)
    assert ball.cut(10.0) is None


def test_coil_maps_agree_between_grids_and_have_unit_root_sum_of_squares() -> None:
    coarse = loop_coil_maps(6, (32, 30), z_mm=12.0)
    fine = loop_coil_maps(6, (96, 90), z_mm=12.0)
    torch.testing.assert_close(fine[:, ::3, ::3], coarse)
    torch.testing.assert_close(torch.linalg.vector_norm(coarse, dim=0), torch.ones(32, 30))


def test_a_perfect_sense_combination_converges_to_the_ground_truth() -> None:
    errors = []
    for matrix in ((48, 45), (96, 90), (192, 180)):
        scan = simulate_acquisition(matrix, 5, n_slices=2, snr=1e8)
        combined = (scan.coil_maps.conj() * resize(ifft(scan.kspace), (1, *matrix))).sum(dim=1)
        assert scan.kspace.shape == (2, 5, 1, matrix[0], 2 * matrix[1])
        assert combined.shape == scan.ground_truth.shape == (2, 1, *matrix)
        errors.append(nrmse(combined, scan.ground_truth))
    # What is left is the coil maps' bandwidth past the edge of the cropped k-space.
    assert errors[2] < errors[1] / 1.5 < errors[0] / 1.5**2
    assert errors[2] < 0.01


def test_noise_has_the_stated_covariance_and_signal_to_noise_ratio() -> None:
    scan = simulate_acquisition((96, 96), 4, snr=20.0, n_noise_samples=40_000)
    noiseless = simulate_acquisition((96, 96), 4, snr=1e9)
    for noise in (scan.noise, (scan.kspace - noiseless.kspace)[0].flatten(1)):
        sampled = noise @ noise.mH / noise.shape[1]
        assert nrmse(sampled, scan.covariance) < 0.03
    off_diagonal = scan.covariance - torch.diag(scan.covariance.diagonal())
    assert off_diagonal.abs().max() > 0.05 * scan.covariance.abs().max()

    noise_images = resize(ifft(scan.kspace - noiseless.kspace), (1, 96, 96))[0].flatten(1)
    whitening = torch.linalg.inv(torch.linalg.cholesky(scan.covariance))
    maps = whitening @ scan.coil_maps[0].flatten(1)
    optimal = (maps.conj() * (whitening @ noise_images)).sum(0) / maps.abs().square().sum(0)
    head = scan.ground_truth.abs().flatten() > 0.05
    mean_signal = scan.ground_truth.abs().flatten()[head].mean()
    assert float(mean_signal / optimal[head].abs().square().mean().sqrt()) == pytest.approx(20, rel=0.3)


def test_one_seed_is_one_scan() -> None:
    first, again, other = (simulate_acquisition((16, 16), 3, seed=seed) for seed in (4, 4, 5))
    assert torch.equal(first.kspace, again.kspace)
    assert not torch.equal(first.kspace, other.kspace)


def test_impossible_requests_are_refused() -> None:
    with pytest.raises(InputError, match="expected sizes of at least one"):
        simulate_acquisition(n_coils=0)
    with pytest.raises(InputError, match="positive snr"):
        simulate_acquisition(snr=-math.inf)
