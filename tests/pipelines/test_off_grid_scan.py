"""The simulated spokes and spirals in MRD, and that nothing but noise stands between them and the truth."""

from collections.abc import Callable

import ismrmrd
import pytest
import torch

from gadgets.records import Readouts
from pipelines.off_grid_scan import golden_spokes, radial_scan, spiral_scan, spirals
from pipelines.sources import Scan
from recon_core.density_compensation import swept_density
from recon_core.metrics import nrmse
from recon_core.nufft import Nufft
from recon_core.phantom import FOV_MM
from recon_core.simulate_off_grid import OffGridScan, simulate_off_grid
from recon_core.trajectories import golden_angle


def test_spokes_turn_by_the_golden_angle_and_are_oversampled() -> None:
    spokes = golden_spokes(5, 32)
    assert spokes.shape == (5, 64, 2)
    angles_rad = torch.atan2(spokes[:, -1, 1], spokes[:, -1, 0])
    expected = torch.arange(5).double() * golden_angle()
    torch.testing.assert_close(torch.cos(angles_rad - expected), torch.ones(5, dtype=torch.float64))


def test_arms_sample_the_disc_without_gaps() -> None:
    arms = spirals(6, 32)
    assert 15.5 < float(arms.norm(dim=-1).max()) <= 16
    assert float(arms.diff(dim=1).norm(dim=-1).max()) < 1
    middle = arms[:, arms.shape[1] // 2]
    assert float((middle - middle.roll(1, 0)).norm(dim=-1).max()) > 1


@pytest.mark.parametrize(
    ("trajectory", "scan_of", "kind"),
    [(golden_spokes(120, 48), radial_scan, "goldenangle"), (spirals(8, 48), spiral_scan, "spiral")],
    ids=["radial", "spiral"],
)
def test_density_compensated_gridding_of_the_scan_is_the_truth(
    trajectory: torch.Tensor, scan_of: Callable[[OffGridScan], Scan], kind: str
) -> None:
    simulation = simulate_off_grid(trajectory, 48, 6, snr=1e6)
    scan = scan_of(simulation)
    header = ismrmrd.xsd.CreateFromDocument(scan.header_xml)
    assert header.encoding[0].trajectory.value == kind
    assert header.encoding[0].reconSpace.fieldOfView_mm.x == FOV_MM
    noise, block = scan.items()
    assert isinstance(block, Readouts)
    assert noise.flagged("IS_NOISE_MEASUREMENT").all()
    read = torch.from_numpy(block.trajectory)
    samples = torch.from_numpy(block.data).transpose(0, 1) * swept_density(read)
    images = Nufft(read, (1, 48, 48)).H(samples.contiguous())
    combined = (simulation.coil_maps.conj() * images).sum(0)
    assert nrmse(combined, simulation.ground_truth) < 0.1


def test_the_headers_parameters_describe_the_arms() -> None:
    simulation = simulate_off_grid(spirals(7, 32), 32, 2)
    header = ismrmrd.xsd.CreateFromDocument(spiral_scan(simulation).header_xml)
    described = header.encoding[0].trajectoryDescription
    assert described.identifier == "HargreavesVDS2000"
    values = {p.name: p.value for p in (*described.userParameterLong, *described.userParameterDouble)}
    assert values["interleaves"] == 7
    assert values["krmax_per_cm"] == pytest.approx(16 / (FOV_MM / 10))
