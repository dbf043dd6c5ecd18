"""The gate names every way in which slices are not like those a network was trained on, and no other."""

import math
from dataclasses import replace
from typing import Any

import msgspec
import pytest
import torch

from recon_core import masks
from recon_core.engine.gate import Measured, covering, outside, unchecked
from tests.recon_core.engine.tiny import N_COILS, SHAPE, slices, tiny_manifest

RANGES = tiny_manifest().ranges


def measured(n_slices: int = 2, **changes: Any) -> Measured:
    return Measured.of(replace(slices(n_slices), **changes).normalised()[0])


def test_what_is_measured_is_true_of_the_slices() -> None:
    mask = masks.poisson_disc(SHAPE, 3, calibration=(6, 6))
    batch = slices(1)
    found = Measured.of(replace(batch, sampled=mask[None]).normalised()[0])
    assert found.acceleration[0] == pytest.approx(masks.true_acceleration(mask))
    assert not found.samples_lines
    assert (found.matrix, found.n_coils) == ((20, 24), (N_COILS, N_COILS))
    magnitude = batch.zero_filled().abs().flatten()
    p99 = magnitude.sort().values[round(0.99 * magnitude.numel()) - 1]
    assert found.intensity[1] == pytest.approx(float(magnitude.max() / p99))
    assert found.noise_level == pytest.approx((float(0.01 / p99),) * 2)


def test_the_slices_a_network_was_trained_on_are_within_what_covers_them() -> None:
    batches = [slices(3, seed) for seed in range(3)]
    found = [Measured.of(batch.normalised()[0]) for batch in batches]
    ranges = covering(found, anatomies=("brain",), contrasts=("T1",), masks=("equispaced_lines",))
    assert all(outside(ranges, m, "brain", "T1") == [] for m in found)
    dimmest, brightest = ranges.intensity
    assert len(outside(ranges, replace(found[0], intensity=(dimmest, 2 * brightest)))) == 1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"acceleration": (3.0, 30.0)}, "acceleration 30 is outside 1.5 to 4"),
        ({"acceleration": (1.0, 3.0)}, "acceleration 1 is outside 1.5 to 4"),
        ({"matrix": (20, 64)}, "matrix size 64 is outside 16 to 32"),
        ({"n_coils": (16, 16)}, "number of coils 16 is outside 1 to 8"),
        ({"noise_level": (0.1, 0.9)}, "noise level 0.9 is outside 0 to 0.5"),
        ({"intensity": (2.0, 2000.0)}, "intensity 2000 is outside 1 to 20"),
        ({"intensity": (0.0, 2.0)}, "intensity 0 is outside 1 to 20"),
        ({"intensity": (float("nan"), float("nan"))}, "intensity nan is outside 1 to 20"),
        ({"samples_lines": False}, "sampling of points is none of equispaced_lines"),
    ],
)
def test_each_quantity_outside_is_named_alone(changes: dict[str, Any], reason: str) -> None:
    assert outside(RANGES, measured()) == []
    assert set(outside(RANGES, replace(measured(), **changes))) == {reason}


def test_another_anatomy_passes_where_one_set_of_parameters_serves_several() -> None:
    several = msgspec.structs.replace(RANGES, anatomies=("brain", "cardiac"))
    assert outside(several, measured(), "knee") == []
    (reason,) = outside(several, measured(), "knee", has_switch=True)
    assert reason == "anatomy 'knee' is none of brain, cardiac"
    assert unchecked(several, measured(), "knee", "T1") == ("anatomy 'knee'",)
    assert unchecked(several, measured(), "Cardiac", "T1") == ()


def test_any_stands_for_all_names() -> None:
    everything = msgspec.structs.replace(RANGES, anatomies=("any",), contrasts=("T1", "Any"))
    assert outside(everything, measured(), "knee", "CT", has_switch=True) == []
    assert unchecked(everything, measured(), "knee", "CT") == ()


def test_anatomy_and_contrast_are_checked_where_they_are_known() -> None:
    assert outside(RANGES, measured(), "Brain", "t1") == []
    assert outside(RANGES, measured(), "knee", "PD") == [
        "anatomy 'knee' is none of brain",
        "contrast 'PD' is none of T1, T2",
    ]
    assert unchecked(RANGES, measured(), None, "T1") == ("anatomy",)
    assert unchecked(RANGES, measured(noise_std=None), "brain") == ("contrast", "noise level")


def test_whole_readouts_are_refused_where_points_were_trained_on() -> None:
    points = msgspec.structs.replace(RANGES, masks=("poisson_disc", "radial"))
    assert outside(points, measured()) == ["sampling of whole readouts is none of poisson_disc, radial"]


def test_a_slice_without_signal_is_outside() -> None:
    batch = slices(2)
    batch.kspace[1] = 0
    assert "intensity 0 is outside 1 to 20" in outside(RANGES, Measured.of(batch.normalised()[0]))


def test_one_value_that_is_not_finite_shows() -> None:
    batch = slices(2)
    batch.kspace[1, 0, 4, 4] = torch.nan
    assert math.isnan(Measured.of(batch.normalised()[0]).intensity[1])
