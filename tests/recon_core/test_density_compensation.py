"""Density compensation against closed forms, SigPy, and what it is for: an adjoint near the inverse."""

import math

import numpy as np
import pytest
import torch

from recon_core.density_compensation import pipe_menon, swept_density
from recon_core.nufft import Nufft
from recon_core.trajectories import directions, golden_directions, radial
from tests.non_cartesian import exact_scan, golden_spokes, spiral_arms

N = 32


def uniform_spokes(n_spokes: int) -> torch.Tensor:
    return radial(
        directions(torch.arange(n_spokes, dtype=torch.float64) * math.pi / n_spokes), 2 * N, spacing=0.5
    )


def ball(n: int) -> torch.Tensor:
    position = (torch.arange(n) - n // 2) / n
    r = (position[:, None, None] ** 2 + position[:, None] ** 2 + position**2).sqrt()
    return torch.exp(-((r / 0.3) ** 6)).to(torch.complex64)


def test_uniform_spokes_weigh_as_much_as_their_sector_of_the_ring() -> None:
    weights = swept_density(uniform_spokes(40))
    radius = (torch.arange(2 * N) - N).abs() * 0.5
    expected = radius * 0.5 * math.pi / 40
    expected[N] = math.pi * 0.25**2 / 40
    torch.testing.assert_close(weights, expected.expand(40, -1), rtol=1e-4, atol=0)


@pytest.mark.parametrize("n_spokes", [7, 34, 89])
def test_golden_spokes_and_spirals_add_up_to_the_disc(n_spokes: int) -> None:
    disc = math.pi * (N / 2) ** 2
    assert float(swept_density(golden_spokes(N, n_spokes)).sum()) == pytest.approx(disc, rel=0.01)
    from_the_centre = golden_spokes(N, n_spokes)[:, N:]
    assert float(swept_density(torch.cat([from_the_centre, -from_the_centre])).sum()) == pytest.approx(
        disc, rel=0.05
    )
    assert float(swept_density(spiral_arms(N, n_spokes)).sum()) == pytest.approx(disc, rel=0.05)


def test_spokes_in_three_dimensions_add_up_to_the_ball() -> None:
    weights = swept_density(radial(golden_directions(300), 2 * N, spacing=0.5))
    assert float(weights.sum()) == pytest.approx(4 / 3 * math.pi * (N / 2) ** 3, rel=0.01)


def test_a_stack_weighs_as_its_planes_do() -> None:
    planes = [golden_spokes(N, 9), golden_spokes(N, 13)]
    stack = torch.cat(
        [torch.cat([k, torch.full_like(k[..., :1], z)], dim=-1) for z, k in zip((-1, 2), planes, strict=True)]
    )
    torch.testing.assert_close(swept_density(stack), torch.cat([swept_density(k) for k in planes]))


def test_repeated_readouts_share_what_they_sweep() -> None:
    once = golden_spokes(N, 13)
    twice = swept_density(torch.cat([once, once, once]))
    torch.testing.assert_close(twice, swept_density(once).repeat(3, 1) / 3)


@pytest.mark.parametrize("compensate", [swept_density, lambda k: pipe_menon(k, (1, N, N))])
@pytest.mark.parametrize(
    "trajectory",
    [uniform_spokes(80), golden_spokes(N, 89), spiral_arms(N, 12)],
    ids=["radial", "golden", "spiral"],
)
def test_the_compensated_adjoint_is_nearly_the_inverse(compensate, trajectory) -> None:
    """Of a smooth object; spokes leave an offset that comes from the disc about k = 0."""
    image = ball(N)[N // 2, None]
    nufft_op = Nufft(trajectory, (1, N, N))
    compensated = nufft_op.H(nufft_op(image) * compensate(trajectory))
    assert (compensated - image).norm() < 0.05 * image.norm()


def test_pipe_menon_does_three_dimensions() -> None:
    n = 16
    trajectory = radial(golden_directions(900), 2 * n, spacing=0.5)
    nufft_op = Nufft(trajectory, (n, n, n))
    compensated = nufft_op.H(nufft_op(ball(n)) * pipe_menon(trajectory, (n, n, n)))
    assert (compensated - ball(n)).norm() < 0.05 * ball(n).norm()


def test_pipe_menon_is_nearer_to_the_head_than_sigpys() -> None:
    """SigPy's kernel is narrower; both images scaled to the head's intensity."""
    import sigpy.mri

    scan = exact_scan(golden_spokes(N, 89), N, n_coils=1)
    truth = scan.truth * scan.coil_maps[0]
    theirs = sigpy.mri.pipe_menon_dcf(scan.trajectory.numpy()[..., ::-1], (N, N), show_pbar=False)
    nufft_op = Nufft(scan.trajectory, (1, N, N))

    def error(weights: torch.Tensor) -> float:
        image = nufft_op.H(scan.kspace[0] * weights)
        scale = torch.vdot(image.flatten(), truth.flatten()) / image.norm() ** 2
        return float((scale * image - truth).norm() / truth.norm())

    ours = pipe_menon(scan.trajectory, (1, N, N))
    assert error(ours) < min(error(torch.from_numpy(np.asarray(theirs).real.astype(np.float32))), 0.1)
