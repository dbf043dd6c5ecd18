"""The head along any trajectory, against its closed form, the Cartesian simulation and stated statistics."""

import pytest
import torch

from recon_core.errors import InputError
from recon_core.fourier import fft
from recon_core.metrics import nrmse
from recon_core.simulate import simulate_acquisition
from recon_core.simulate_off_grid import simulate_off_grid
from recon_core.trajectories import directions, radial


def lines(n: int) -> torch.Tensor:
    axis = torch.arange(n, dtype=torch.float64) - n // 2
    return torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1)


def test_on_lines_it_is_the_cartesian_simulation() -> None:
    for n in (32, 31):
        on_lines = simulate_off_grid(lines(n), n, 3, snr=1e9)
        cartesian = simulate_acquisition((n, n), 3, oversampling=1, snr=1e9)
        assert nrmse(on_lines.kspace, cartesian.kspace[0, :, 0]) < 1e-5
        assert torch.equal(on_lines.coil_maps, cartesian.coil_maps[0])


def test_the_truth_is_the_disc_of_the_cartesian_truth() -> None:
    truth = fft(simulate_off_grid(lines(8)[:1], 33, 2).ground_truth)[0]
    full = fft(simulate_acquisition((33, 33), 2).ground_truth)[0, 0]
    in_disc = lines(33).norm(dim=-1) <= 16
    assert nrmse(truth[in_disc], full[in_disc]) < 1e-5
    assert truth[~in_disc].abs().max() < 1e-5


def test_noise_has_the_stated_covariance_and_one_seed_is_one_scan() -> None:
    spokes = radial(directions(torch.arange(100).double()), 64, spacing=0.5)
    scan, silent = (simulate_off_grid(spokes, 32, 3, snr=snr, seed=2) for snr in (10.0, 1e9))
    noise = (scan.kspace - silent.kspace).flatten(1)
    for sampled in (noise, scan.noise):
        assert nrmse(sampled @ sampled.mH / sampled.shape[1], scan.covariance) < 0.07
    assert torch.equal(scan.kspace, simulate_off_grid(spokes, 32, 3, snr=10.0, seed=2).kspace)
    assert not torch.equal(scan.kspace, simulate_off_grid(spokes, 32, 3, snr=10.0, seed=3).kspace)


def test_impossible_requests_are_refused() -> None:
    with pytest.raises(InputError, match="positive snr"):
        simulate_off_grid(lines(8), 8, 2, snr=0)
    with pytest.raises(InputError, match="coils of at least one"):
        simulate_off_grid(lines(8), 8, 0)
