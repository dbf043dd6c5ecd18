"""Spokes and spirals against what defines them."""

import math

import pytest
import torch

from recon_core.errors import InputError
from recon_core.trajectories import (
    GAMMA_HZ_PER_T,
    directions,
    golden_angle,
    golden_directions,
    radial,
    rotated,
    spiral_arm,
)

LIMITS = {"max_gradient_mt_per_m": 30.0, "max_slew_t_per_m_per_s": 150.0, "dwell_time_us": 4.0}


def test_golden_angles_are_those_of_the_papers() -> None:
    degrees = [math.degrees(golden_angle(n)) for n in range(1, 8)]
    assert degrees == pytest.approx([111.246, 68.754, 49.750, 38.978, 32.039, 27.198, 23.628], abs=1e-3)


def test_any_number_of_golden_spokes_leaves_no_gap_much_larger_than_another() -> None:
    """Adjacent gaps of golden-angle spokes take at most three values, two of them adding up to the third."""
    for n_spokes in (5, 21, 34, 50):
        angles = (torch.arange(n_spokes, dtype=torch.float64) * golden_angle() % math.pi).sort().values
        gaps = torch.diff(angles, append=angles[:1] + math.pi)
        assert gaps.max() / gaps.min() < 2.7


def test_spokes_pass_k_zero_at_their_centre_sample_and_reach_half_the_matrix() -> None:
    spokes = radial(directions(torch.tensor([0.0, math.pi / 2, 2.0], dtype=torch.float64)), 128, spacing=0.5)
    assert not spokes[:, 64].any()
    torch.testing.assert_close(spokes[0, :, 0], torch.arange(-32, 32, 0.5, dtype=torch.float64))
    torch.testing.assert_close(spokes[1, :, 1], spokes[0, :, 0])
    assert not radial(directions(torch.zeros(1)), 10, center_sample=0)[0, 0].any()


def test_golden_directions_fill_the_half_sphere_evenly() -> None:
    n = golden_directions(2000)
    torch.testing.assert_close(n.norm(dim=1), torch.ones(2000, dtype=torch.float64))
    assert (n[:, 2] >= 0).all()
    second_moments = n.T @ n / 2000
    torch.testing.assert_close(second_moments, torch.eye(3).double() / 3, rtol=0, atol=0.01)


@pytest.mark.parametrize("fov_mm", [(240.0,), (400.0, -200.0)])
def test_a_spiral_keeps_to_gradient_and_slew_rate_and_uses_them(fov_mm: tuple[float, ...]) -> None:
    arm = spiral_arm(fov_mm, 8, max_k_per_mm=0.4, **LIMITS)
    gradient = arm.diff(dim=0).norm(dim=1) / 4e-6 / GAMMA_HZ_PER_T * 1e6
    slew = arm.diff(n=2, dim=0).norm(dim=1) / 4e-6**2 / GAMMA_HZ_PER_T * 1e3
    assert 29.9 < gradient.max() < 30.1
    assert 149 < slew.max() < 151
    assert 0.999 * 0.4 < arm.norm(dim=1).max() <= 0.4


@pytest.mark.parametrize("fov_mm", [(240.0,), (400.0, -200.0)])
def test_turns_of_spirals_lie_apart_by_one_over_the_field_of_view(fov_mm: tuple[float, ...]) -> None:
    """dθ/dr = 2π F(r) / interleaves, so that a whole turn takes r a step of interleaves / F."""
    arm = spiral_arm(fov_mm, 8, max_k_per_mm=0.25, **LIMITS)
    r = arm.norm(dim=1)
    unwrapped = torch.atan2(arm[:, 1], arm[:, 0]).diff().remainder(2 * math.pi).cumsum(0)
    middle = (r[1:] + r[:-1]) / 2
    slope = unwrapped.diff() / r[1:].diff()
    fov = sum(f * (middle[:-1] / 0.25) ** i for i, f in enumerate(fov_mm))
    torch.testing.assert_close(slope[50:], 2 * math.pi * fov[50:] / 8, rtol=0.05, atol=0)


def test_rotated_arms_are_one_arm_turned() -> None:
    arm = spiral_arm((240.0,), 8, max_k_per_mm=0.1, **LIMITS)
    arms = rotated(arm, torch.tensor([0.0, math.pi / 2], dtype=torch.float64))
    torch.testing.assert_close(arms[0], arm)
    torch.testing.assert_close(arms[1], torch.stack([-arm[:, 1], arm[:, 0]], dim=1))


def test_a_spiral_that_cannot_be_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recon_core.trajectories.MAX_SPIRAL_SAMPLES", 100)
    with pytest.raises(InputError, match="expected positive parameters"):
        spiral_arm((0.0,), 8, max_k_per_mm=0.1, **LIMITS)
    with pytest.raises(InputError, match="expected an arm of at most"):
        spiral_arm((240.0,), 1, max_k_per_mm=50.0, **LIMITS)
