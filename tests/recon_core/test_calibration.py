"""The fully sampled centre."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recon_core.calibration import calibration_block


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([(1, 9, 8), (5, 7, 6), (1, 16, 1)]), st.floats(0.3, 1.0))
def test_block_is_full_symmetric_about_the_centre_and_cannot_grow(
    seed: int, shape: tuple[int, int, int], density: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    n_z, n_y, n_x = shape
    sampled = (torch.rand((n_z, n_y, 1), generator=generator) < density).expand(shape)
    block = calibration_block(sampled)
    if not sampled.any():
        assert block is None
        return
    assert block is not None
    assert sampled[block].all()
    assert sampled[block].numel() > 0
    if sampled[n_z // 2, n_y // 2, n_x // 2]:
        for run, n in zip(block, shape, strict=True):
            assert run.start + (run.stop - run.start) // 2 == n // 2


def test_central_lines_of_an_undersampled_plane() -> None:
    sampled = torch.zeros(1, 64, 32, dtype=torch.bool)
    sampled[:, ::3] = True
    sampled[:, 20:44] = True
    sampled[..., :5] = False
    assert calibration_block(sampled) == (slice(0, 1), slice(20, 44), slice(5, 28))


def test_lines_beside_the_centre_serve_as_they_are() -> None:
    sampled = torch.zeros(1, 16, 4, dtype=torch.bool)
    sampled[:, 9:13] = True
    assert calibration_block(sampled) == (slice(0, 1), slice(9, 13), slice(0, 4))


def test_nothing_sampled_or_nothing_in_common_gives_nothing() -> None:
    assert calibration_block(torch.zeros(1, 4, 4, dtype=torch.bool)) is None
    apart = torch.zeros(1, 2, 4, dtype=torch.bool)
    apart[0, 0, :2] = True
    apart[0, 1, 2:] = True
    assert calibration_block(apart) is None
