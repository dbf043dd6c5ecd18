"""Maps to combine with, against the coils the data were simulated from."""

import pytest
import torch

from recon_core.coils.combine import rss, sense_combine
from recon_core.coils.low_resolution import low_resolution_combine, low_resolution_maps
from recon_core.errors import CalibrationError
from recon_core.fourier import fft, ifft, resize
from recon_core.metrics import nrmse
from recon_core.simulate import simulate_acquisition


def test_combination_is_as_good_as_with_the_true_coils() -> None:
    scan = simulate_acquisition((96, 80), 6, oversampling=1)
    kspace, truth = scan.kspace[0], scan.ground_truth[0].abs()
    images = ifft(kspace)
    maps = low_resolution_maps(kspace, (1, 96, 80))
    head = truth > 0.05
    errors = [
        nrmse(sense_combine(images, used).abs()[head], truth[head]) for used in (maps, scan.coil_maps[0])
    ]
    assert errors[0] < 1.1 * errors[1]
    assert torch.allclose(rss(maps), torch.ones(1, 96, 80), atol=1e-5)


def test_a_calibration_block_gives_the_maps_of_the_whole() -> None:
    kspace = simulate_acquisition((64, 64), 4, oversampling=1).kspace[0]
    whole = low_resolution_maps(kspace, (1, 64, 64))
    assert torch.allclose(low_resolution_maps(kspace[:, :, 14:50, 10:54], (1, 64, 64)), whole, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 64, 48), (5, 7, 9), (1, 33, 1)])
def test_combining_is_the_matched_filter_of_the_maps(shape: tuple[int, int, int]) -> None:
    kspace = torch.randn(4, *shape, dtype=torch.complex64)
    images, maps = ifft(kspace), low_resolution_maps(kspace, shape)
    assert torch.allclose(low_resolution_combine(images, kspace), sense_combine(images, maps), atol=1e-5)


def test_maps_are_the_transform_of_the_apodised_centre() -> None:
    kspace = torch.randn(3, 1, 40, 37, dtype=torch.complex64)
    centre = resize(kspace, (1, 32, 32))
    window = torch.cos(torch.pi * (torch.arange(32) - 16) / 33) ** 2
    images = ifft(resize(centre * window[:, None] * window, (1, 40, 37)))
    maps = low_resolution_maps(kspace, (1, 40, 37))
    assert torch.allclose(maps.abs(), images.abs() / rss(images), atol=1e-5)


def test_the_phase_of_the_object_survives() -> None:
    maps = simulate_acquisition((64, 64), 6, oversampling=1).coil_maps[0]
    y, x = torch.meshgrid(torch.linspace(-1, 1, 64), torch.linspace(-1, 1, 64), indexing="ij")
    disc = ((x**2 + y**2) < 0.7).float()
    plain, turned = disc + 0j, torch.polar(disc, 3 * x)
    images = [
        sense_combine(maps * one, low_resolution_maps(fft(maps * one), (1, 64, 64)))
        for one in (plain, turned)
    ]
    # The principal coil's own phase is common to both; the object's differs by the ramp.
    difference = (images[1] * images[0].conj())[0][disc > 0]
    ramp = torch.polar(torch.ones_like(x), 3 * x)[disc > 0]
    offset = torch.sgn((difference * ramp.conj()).sum())
    assert nrmse(torch.sgn(difference), ramp * offset) < 0.01


def test_three_dimensions_and_double_precision() -> None:
    kspace = torch.randn(3, 5, 7, 9, dtype=torch.complex128)
    maps = low_resolution_maps(kspace, (6, 8, 10))
    assert maps.shape == (3, 6, 8, 10)
    assert maps.dtype == torch.complex128


def test_zeros_cannot_calibrate() -> None:
    with pytest.raises(CalibrationError):
        low_resolution_maps(resize(torch.zeros(2, 1, 8, 8, dtype=torch.complex64), (1, 8, 8)), (1, 8, 8))
