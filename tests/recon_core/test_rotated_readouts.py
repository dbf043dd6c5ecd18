"""Sums at regular angles against the transform of every readout."""

import pytest
import torch

from recon_core.errors import InputError
from recon_core.nufft import Nufft
from recon_core.rotated_readouts import RotatedReadouts, rotated_readouts
from recon_core.trajectories import golden_angle

MATRIX = 20
N_READOUTS = 700
ANGLES_RAD = torch.arange(N_READOUTS, dtype=torch.float64) * golden_angle()


def noise(*shape: int, dtype: torch.dtype = torch.complex128) -> torch.Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(0))


def turned(readout: torch.Tensor) -> torch.Tensor:
    """(readout, sample, 2) of a readout (sample,) of kx + i ky."""
    return torch.view_as_real(torch.polar(torch.ones_like(ANGLES_RAD), ANGLES_RAD)[:, None] * readout)


def spoke(n_samples: int, delay: float = 0.0) -> torch.Tensor:
    positions = (torch.arange(n_samples, dtype=torch.float64) - n_samples // 2) * MATRIX / n_samples
    return torch.complex(positions + delay, torch.zeros_like(positions))


def spiral(n_samples: int) -> torch.Tensor:
    radius = torch.linspace(0, MATRIX / 2, n_samples, dtype=torch.float64)
    return torch.polar(radius, 6 * radius)


@pytest.mark.parametrize("is_real", [True, False])
@pytest.mark.parametrize(
    ("readout", "is_symmetric"),
    [(spoke(40), True), (spoke(41), True), (spoke(40, delay=0.3), False), (spiral(60), False)],
    ids=["spoke", "odd spoke", "delayed spoke", "spiral"],
)
def test_sums_at_regular_angles_have_the_image_of_all_readouts(
    readout: torch.Tensor, is_symmetric: bool, is_real: bool
) -> None:
    trajectory, shape = turned(readout), (1, MATRIX, MATRIX)
    rows = noise(3, N_READOUTS, dtype=torch.float64 if is_real else torch.complex128)
    data = noise(N_READOUTS, 2, len(readout))
    rotated = rotated_readouts(trajectory, shape)
    assert rotated is not None
    assert rotated.is_symmetric == is_symmetric
    assert rotated.n_angles < N_READOUTS / (4 if is_symmetric else 2)
    sums = rotated.zeros(3, data)
    rotated.add(sums, data, rows, rotated.angles_rad(trajectory))
    images = Nufft(rotated.trajectory, shape, dtype=torch.complex128).H(sums.permute(1, 2, 0, 3))
    expected = Nufft(trajectory, shape, dtype=torch.complex128).H(
        rows[:, None, :, None] * data.transpose(0, 1)
    )
    assert float((images - expected).norm() / expected.norm()) < 2e-5


def test_what_is_the_same_for_all_readouts_is_multiplied_afterwards() -> None:
    readout, weights = spoke(40), torch.arange(40) + 1.0 + 0j
    trajectory = turned(readout)
    rotated = RotatedReadouts(trajectory[0])
    rows = noise(2, N_READOUTS)
    angles_rad = rotated.angles_rad(trajectory)
    data = weights.to(rows.dtype).expand(N_READOUTS, 40)
    sums = rotated.zeros(2, data)
    rotated.add(sums, data, rows, angles_rad)
    once = torch.tensor([1, 0], dtype=rows.dtype).expand(N_READOUTS, 2)
    factors = rotated.zeros(2, once)
    rotated.add(factors, once, rows, angles_rad)
    padded = torch.nn.functional.pad(data[0], (0, 1))
    torch.testing.assert_close(factors @ torch.stack([padded, padded.flip(0)]), sums)


def test_readouts_of_other_shapes_are_not_taken_for_rotated_ones() -> None:
    trajectory = turned(spoke(40))
    bent = trajectory.clone()
    bent[300, 5] += 0.01
    assert rotated_readouts(bent, (1, MATRIX, MATRIX)) is None
    assert rotated_readouts(trajectory[:80], (1, MATRIX, MATRIX)) is None, "no shorter"
    assert rotated_readouts(trajectory[:80], (1, MATRIX, MATRIX), n_readouts=N_READOUTS) is not None
    assert rotated_readouts(trajectory, (4, MATRIX, MATRIX)) is None
    with pytest.raises(InputError, match=r"one 0\.0\d+ cycles"):
        RotatedReadouts(bent[0]).angles_rad(bent)
    with pytest.raises(InputError, match="expected 40 samples a readout, got 41"):
        RotatedReadouts(trajectory[0]).angles_rad(turned(spoke(41)))
