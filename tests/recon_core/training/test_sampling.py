"""Training and test patterns, and their pool."""

import pytest
import torch

from recon_core.masks import true_acceleration
from recon_core.training.sampling import Sampling, pattern

SHAPE = (96, 80)


@pytest.mark.parametrize("kind", ["random_lines", "gaussian_lines", "poisson_disc", "radial", "spiral"])
def test_patterns_have_the_acceleration_asked_for_and_a_full_centre(kind: str) -> None:
    sampling = Sampling(patterns=(kind,), accelerations=(4.0,), calibration=(16,))
    for number in range(3):
        mask = pattern(sampling, SHAPE, "train", number)
        assert true_acceleration(mask) == pytest.approx(4, rel=0.03)
        assert bool(mask[48 - 6 : 48 + 6, 40 - 6 : 40 + 6].all())


def test_no_test_pattern_is_a_training_pattern() -> None:
    sampling = Sampling(patterns=("random_lines",), accelerations=(3.0,), calibration=(16,), n_patterns=50)
    train, test = (
        {pattern(sampling, SHAPE, part, i).numpy().tobytes() for i in range(50)} for part in ("train", "test")
    )
    assert len(train) == len(test) == 50
    assert not train & test


def test_a_pattern_is_always_the_same() -> None:
    first = pattern(Sampling(), SHAPE, "train", 7)
    pattern.cache_clear()
    assert torch.equal(first, pattern(Sampling(), SHAPE, "train", 7))


@pytest.mark.parametrize("number", range(40))
def test_every_acceleration_leaves_a_centre_to_calibrate_from(number: int) -> None:
    mask = pattern(
        Sampling(patterns=("random_lines", "equispaced_lines", "gaussian_lines"), accelerations=(10.0,)),
        (160, 160),
        "train",
        number,
    )
    assert bool(mask[80 - 6 : 80 + 6].all())


def test_a_small_matrix_keeps_lines_to_calibrate_from() -> None:
    sampling = Sampling(patterns=("random_lines", "equispaced_lines"), accelerations=(10.0,))
    for number in range(10):
        assert bool(pattern(sampling, (96, 96), "train", number)[48 - 6 : 48 + 6].all())
