"""Calibration blocks of non-Cartesian scans against exact Cartesian samples of the same coils."""

import pytest
import torch

from recon_core.coils.espirit import espirit
from recon_core.coils.gridded_calibration import gridded_calibration
from recon_core.errors import CalibrationError
from tests.non_cartesian import exact_scan, golden_spokes, spiral_arms

N = 64


def cartesian(width: int) -> torch.Tensor:
    step = torch.arange(width, dtype=torch.float64) - width // 2
    return torch.stack(torch.meshgrid(step, step, indexing="xy"), dim=-1)


@pytest.mark.parametrize(
    ("trajectory", "below"),
    [(golden_spokes(N, 89), 0.01), (golden_spokes(N, 34), 0.03), (spiral_arms(N, 16), 0.03)],
)
def test_is_what_a_cartesian_scan_would_have_acquired(trajectory: torch.Tensor, below: float) -> None:
    scan = exact_scan(trajectory, N)
    calibration = gridded_calibration(scan.kspace, scan.trajectory, (1, N, N))
    assert calibration.shape == (4, 1, 24, 24)
    expected = exact_scan(cartesian(24), N).kspace
    assert (calibration[:, 0] - expected).norm() < below * expected.norm()


def test_coil_maps_from_it_are_those_of_the_coils() -> None:
    scan = exact_scan(golden_spokes(N, 34), N)
    calibration = gridded_calibration(scan.kspace, scan.trajectory, (1, N, N))
    maps = espirit(calibration, (1, N, N), crop=0).maps[0]
    truth = scan.coil_maps / torch.linalg.vector_norm(scan.coil_maps, dim=0)
    alignment = torch.linalg.vecdot(maps, truth, dim=0).abs()[scan.truth.abs() > 0.1]
    assert alignment.min() > 0.995


def test_the_block_is_no_wider_than_the_sampling_is_dense() -> None:
    few = exact_scan(golden_spokes(N, 13), N)
    width = gridded_calibration(few.kspace, few.trajectory, (1, N, N)).shape[-1]
    assert width == 12


def test_half_the_arms_of_a_spiral_are_enough_for_coil_maps() -> None:
    scan = exact_scan(spiral_arms(N, 16)[::2], N, n_coils=6)
    calibration = gridded_calibration(scan.kspace, scan.trajectory, (1, N, N))
    maps = espirit(calibration, (1, N, N), crop=0).maps[0]
    truth = scan.coil_maps / torch.linalg.vector_norm(scan.coil_maps, dim=0)
    alignment = torch.linalg.vecdot(maps, truth, dim=0).abs()[scan.truth.abs() > 0.1]
    assert alignment.mean() > 0.99


def test_three_dimensions() -> None:
    n = 12
    step = torch.arange(n) - n // 2
    grid = torch.stack(torch.meshgrid(step, step, step, indexing="ij"), dim=-1).flatten(0, 1).flip(-1).float()
    kspace = torch.randn(
        2, *grid.shape[:2], dtype=torch.complex64, generator=torch.Generator().manual_seed(0)
    )
    calibration = gridded_calibration(kspace, grid, (n, n, n), width=8)
    torch.testing.assert_close(calibration, kspace.view(2, n, n, n)[:, 2:10, 2:10, 2:10], rtol=0, atol=1e-4)


def test_refuses_gaps_and_silence() -> None:
    trajectory = golden_spokes(N, 21).float()
    silent = torch.zeros(2, 21, 2 * N, dtype=torch.complex64)
    with pytest.raises(CalibrationError, match="finite samples with signal"):
        gridded_calibration(silent, trajectory, (1, N, N))
    with pytest.raises(CalibrationError, match="about the centre of k-space, got them in 0 %"):
        gridded_calibration(silent[:, :, : N - 20], trajectory[:, : N - 20], (1, N, N))
