"""Every pattern: its rate, its calibration region, its seed; and the law that gives each its name."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recon_core.errors import InputError
from recon_core.masks import (
    equispaced_lines,
    gaussian_lines,
    poisson_disc,
    radial,
    random_lines,
    spiral,
    true_acceleration,
)

Mask = Callable[..., torch.Tensor]
LINES = (random_lines, gaussian_lines)
PLANES = (poisson_disc, radial, spiral)


@pytest.mark.parametrize("pattern", LINES)
@given(n_lines=st.integers(40, 150), acceleration=st.floats(1, 5), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_lines_meet_their_rate_and_hold_the_centre(
    pattern: Mask, n_lines: int, acceleration: float, seed: int
) -> None:
    mask = pattern((n_lines, 5), acceleration, n_calibration=7, seed=seed)
    assert int(mask[:, 0].sum()) == round(n_lines / acceleration)
    assert (mask == mask[:, :1]).all()
    assert mask[n_lines // 2 - 3 : n_lines // 2 + 4].all()


@pytest.mark.parametrize("pattern", PLANES)
@pytest.mark.parametrize("acceleration", [2.0, 4.0, 10.0])
@pytest.mark.parametrize("shape", [(96, 96), (71, 120)])
def test_planes_meet_their_rate_and_hold_the_centre(
    pattern: Mask, acceleration: float, shape: tuple[int, int]
) -> None:
    mask = pattern(shape, acceleration, calibration=(10, 9), seed=1)
    assert true_acceleration(mask) == pytest.approx(acceleration, rel=0.02)
    y, x = shape[0] // 2 - 5, shape[1] // 2 - 4
    assert mask[y : y + 10, x : x + 9].all()


@pytest.mark.parametrize("pattern", [*LINES, *PLANES])
def test_one_seed_is_one_mask(pattern: Mask) -> None:
    region = {"n_calibration": 8} if pattern in LINES else {"calibration": (8, 8)}
    first, again, other = (pattern((64, 64), 3, seed=seed, **region) for seed in (7, 7, 8))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_equispaced_lines_are_equispaced_and_state_their_true_acceleration() -> None:
    mask = equispaced_lines((61, 4), 3, n_calibration=10, offset=2)
    lines = torch.nonzero(mask[:, 0])[:, 0].tolist()
    assert sorted({*range(2, 61, 3), *range(25, 35)}) == lines
    assert true_acceleration(mask) == 61 / len(lines)
    offsets = {
        int(equispaced_lines((60, 1), 4, n_calibration=0, seed=seed).int().argmax()) for seed in range(40)
    }
    assert offsets == {0, 1, 2, 3}


def test_gaussian_density_falls_off_as_its_width_says() -> None:
    n = 200
    counts = torch.stack(
        [gaussian_lines((n, 1), 10, n_calibration=0, width=0.15, seed=seed)[:, 0] for seed in range(300)]
    ).double()
    position = torch.arange(n, dtype=torch.float64) - n // 2
    spread = (counts.mean(0) * position.square()).sum() / counts.mean(0).sum()
    # Drawing without repetition widens the density a little.
    assert float(spread.sqrt()) == pytest.approx(0.15 * n, rel=0.1)


def test_poisson_disc_samples_keep_their_distance() -> None:
    shape = (80, 64)
    mask = poisson_disc(shape, 8, calibration=(0, 0), seed=3)
    points = torch.nonzero(mask).double()
    relative = (points - torch.tensor([40, 32])) / torch.tensor([40, 32])
    distance_to_centre = torch.linalg.vector_norm(relative, dim=1)
    apart = torch.cdist(points, points).fill_diagonal_(torch.inf)
    nearest = apart.amin(dim=1)
    # The slope is the law's one unknown: take the largest that no pair contradicts.
    pair_reach = torch.minimum(distance_to_centre[:, None], distance_to_centre[None, :])
    slope = float((torch.where(apart > 1, apart, torch.inf) / pair_reach.clamp(min=1e-3)).min())
    assert slope > 3
    outside = distance_to_centre > 1.5 / slope
    assert (nearest[outside] >= slope * distance_to_centre[outside] * 0.6).all()
    rings = [
        float(nearest[(distance_to_centre > a) & (distance_to_centre <= a + 0.25)].mean())
        for a in (0, 0.25, 0.5)
    ]
    assert rings[0] < rings[1] < rings[2]


def test_spokes_pass_through_the_centre_to_both_sides() -> None:
    mask = radial((65, 65), 6, calibration=(1, 1), seed=2)
    # Only the last spoke, cut to the rate, may end on one side.
    assert int((mask ^ mask.flip(0, 1)).sum()) <= 2
    assert mask[32, 32]


def test_spiral_turns_are_equally_far_apart() -> None:
    mask = spiral((129, 129), 8, calibration=(1, 1), seed=0)
    crossings = torch.nonzero(mask[64, 64:])[:, 0]
    starts = crossings[torch.cat([torch.tensor([True]), crossings.diff() > 1])]
    gaps = starts[2:].diff()
    assert len(gaps) >= 5
    assert int(gaps.max() - gaps.min()) <= 2


@pytest.mark.parametrize("pattern", [*LINES, *PLANES])
def test_a_calibration_region_beyond_the_rate_is_refused(pattern: Mask) -> None:
    region = {"n_calibration": 30} if pattern in LINES else {"calibration": (30, 30)}
    with pytest.raises(InputError, match="lower either"):
        pattern((40, 40), 4, **region)
    with pytest.raises(InputError, match="acceleration from 1"):
        pattern((40, 40), 0.5)
