"""Gradient delays found in exact samples of displaced spokes, and in a real scan whose delays are known."""

from pathlib import Path

import ismrmrd
import numpy as np
import pytest
import torch

from recon_core.errors import CalibrationError, InputError
from recon_core.gradient_delays import displaced, gradient_delays
from recon_core.trajectories import directions, golden_angle, radial
from tests.non_cartesian import exact_scan, golden_spokes, spiral_arms

DELAYS = torch.tensor([[0.6, 0.1], [0.1, -0.35]], dtype=torch.float64)


@pytest.mark.parametrize(("n_spokes", "noise_std"), [(5, 0.0), (5, 0.1), (21, 0.02)])
def test_finds_the_delays_that_spokes_were_displaced_by(n_spokes: int, noise_std: float) -> None:
    meant = golden_spokes(64, n_spokes)
    scan = exact_scan(displaced(meant, DELAYS), 64, noise_std=noise_std)
    torch.testing.assert_close(gradient_delays(scan.kspace, meant), DELAYS, rtol=0, atol=0.01)


def test_finds_nothing_where_nothing_was_displaced() -> None:
    scan = exact_scan(golden_spokes(64, 13), 64)
    assert gradient_delays(scan.kspace, scan.trajectory).abs().max() < 0.005


def test_finds_in_a_real_scan_the_delays_that_its_authors_found(shared_data: Path) -> None:
    """The stored trajectory is displaced along x and y by 0.218 and 0.208 cycles per field of view."""
    path = shared_data / "raw" / "brain_radial_goldenangle_vfa_5ch.h5"
    with ismrmrd.Dataset(str(path), create_if_needed=False) as dataset:
        acquisitions = [dataset.read_acquisition(i) for i in range(34)]
    kspace = torch.from_numpy(np.stack([a.data for a in acquisitions], axis=1))
    angles = torch.pi / 2 + torch.arange(34, dtype=torch.float64) * golden_angle()
    meant = radial(directions(angles), 512, spacing=0.5)
    found = gradient_delays(kspace, meant)
    torch.testing.assert_close(found, torch.diag(torch.tensor([0.218, 0.208]).double()), rtol=0, atol=0.06)


def test_refuses_noise_and_what_are_no_spokes_through_the_centre() -> None:
    spokes = golden_spokes(32, 8)
    noise = torch.randn(3, 8, 64, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    with pytest.raises(CalibrationError, match="expected spokes that agree"):
        gradient_delays(noise, spokes)
    with pytest.raises(CalibrationError, match="expected signal"):
        gradient_delays(torch.zeros_like(noise), spokes)
    with pytest.raises(CalibrationError, match="0 pairs"):
        gradient_delays(noise[:, :1], spokes[:1])
    for other in (spokes[:, 32:], spiral_arms(32, 4)):
        kspace = torch.ones(3, *other.shape[:2], dtype=torch.complex64)
        with pytest.raises(InputError, match="expected evenly sampled spokes"):
            gradient_delays(kspace, other)
