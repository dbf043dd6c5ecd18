"""Regular patterns are recognised whatever their shift, outline and calibration block; others are not."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recon_core.lattice import lattice_mask, lattice_offset, regular_acceleration
from recon_core.masks import equispaced_lines, poisson_disc, random_lines


@given(st.data())
def test_every_lattice_is_recognised_with_or_without_calibration(data: st.DataObject) -> None:
    rz, ry = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 5))
    nz, ny = (1, 40) if rz == 1 else (25, 40)
    z, y = data.draw(st.integers(0, rz - 1)), data.draw(st.integers(0, ry - 1))
    lattice = torch.zeros((nz, ny), dtype=torch.bool)
    lattice[z::rz, y::ry] = True
    sampled = lattice.clone()
    if data.draw(st.booleans()):
        sampled[nz // 2 - nz // 4 : nz // 2 + nz // 4 + 1, 14:26] = True
    assert regular_acceleration(sampled) == (rz, ry)
    assert lattice_offset(sampled, (rz, ry)) == (z, y)
    assert torch.equal(lattice_mask(sampled, (rz, ry)), lattice)


def test_a_partial_or_elliptic_outline_is_still_regular() -> None:
    z, y = torch.arange(40)[:, None] - 20, torch.arange(48) - 24
    inside = (z / 20) ** 2 + (y / 24) ** 2 <= 1
    sampled = inside & (z % 2 == 0) & (y % 3 == 1)
    assert regular_acceleration(sampled) == (2, 3)
    partial = equispaced_lines((96, 1), 2, n_calibration=20, offset=1).T.contiguous()
    partial[:, 70:] = False
    assert regular_acceleration(partial) == (1, 2)


def test_an_elliptic_calibration_block_is_still_regular_and_scattered_samples_are_not() -> None:
    z, y = torch.arange(40)[:, None] - 20, torch.arange(48) - 24
    lattice = (z % 2 == 0) & (y % 3 == 0)
    elliptic = lattice | ((z / 9) ** 2 + (y / 12) ** 2 <= 1)
    assert regular_acceleration(elliptic) == (2, 3)
    elliptic[20, 25] = False
    assert regular_acceleration(elliptic) is None
    scattered = lattice.clone()
    scattered[15, 10] = scattered[25, 10] = True
    assert regular_acceleration(scattered) is None


def test_full_sampling_is_acceleration_one() -> None:
    assert regular_acceleration(torch.ones((1, 31), dtype=torch.bool)) == (1, 1)
    assert regular_acceleration(torch.ones((9, 31), dtype=torch.bool)) == (1, 1)


@pytest.mark.parametrize("seed", range(5))
def test_irregular_sampling_is_told_apart(seed: int) -> None:
    assert regular_acceleration(random_lines((128, 1), 3, n_calibration=16, seed=seed).T) is None
    assert regular_acceleration(poisson_disc((48, 48), 5, calibration=(8, 8), seed=seed)) is None
    missing = equispaced_lines((128, 1), 2, n_calibration=24, offset=0).T.contiguous()
    missing[:, 2 * (seed + 5)] = False
    assert regular_acceleration(missing) is None


def test_nothing_sampled_is_not_regular() -> None:
    assert regular_acceleration(torch.zeros((2, 16), dtype=torch.bool)) is None
