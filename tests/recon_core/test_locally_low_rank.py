"""Thresholded singular values of patches against NumPy's, patch by patch."""

import numpy as np
import pytest
import torch

from recon_core.locally_low_rank import locally_low_rank_threshold


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.complex128, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("shape", [(3, 1, 16, 24), (3, 2, 19, 13), (40, 1, 8, 10), (2, 1, 5, 5)])
def test_every_patch_is_the_one_numpy_makes(shape: tuple[int, ...]) -> None:
    features, shift = noise(*shape), (3, -2)
    rolled = features.roll(shift, (-2, -1)).numpy()
    expected = np.zeros_like(rolled)
    for z in range(shape[1]):
        for y in range(0, shape[2], 8):
            for x in range(0, shape[3], 8):
                patch = rolled[:, z, y : y + 8, x : x + 8]
                left, singular, right = np.linalg.svd(patch.reshape(shape[0], -1), full_matrices=False)
                kept = left @ np.diag(np.maximum(singular - 2, 0)) @ right
                expected[:, z, y : y + 8, x : x + 8] = kept.reshape(patch.shape)
    actual = locally_low_rank_threshold(features, 2.0, shift=shift)
    torch.testing.assert_close(actual.roll(shift, (-2, -1)), torch.from_numpy(expected))


def test_a_threshold_above_all_singular_values_leaves_nothing_and_zero_leaves_all() -> None:
    features = noise(3, 1, 16, 16)
    torch.testing.assert_close(locally_low_rank_threshold(features, 0.0), features)
    assert not locally_low_rank_threshold(features, 1e3).any()
