"""Navigators that nobody flagged, found by the line that repeats."""

from dataclasses import replace

import numpy as np
import pytest

from gadgets.find_navigators import FindNavigators
from gadgets.records import FLAG_BITS, Readouts
from gadgets.testing import recut
from tests.gadgets.small_scan import context, encoding, random_complex, readouts

CONTEXT = context(encoding((32, 64, 1), trajectory="goldenangle"))
IS_NAVIGATOR = np.arange(60) % 3 == 1


def spokes(is_navigator: np.ndarray = IS_NAVIGATOR) -> Readouts:
    """Golden-angle spokes, of which some lie along kx."""
    angles = np.where(is_navigator, 0.0, np.deg2rad(111.246) * (1 + np.arange(len(is_navigator))))
    k = np.arange(-16, 16)
    trajectory = k[:, None] * np.stack([np.cos(angles), np.sin(angles)], -1)[:, None]
    block = readouts(random_complex((2, 1, len(angles), 32)))
    return replace(block, trajectory=trajectory.astype(np.float32))


@pytest.mark.parametrize("size", [1, 7, 60])
def test_what_repeats_is_flagged_from_the_first_one_on(size: int) -> None:
    blocks = list(FindNavigators()(recut([spokes()], size), CONTEXT))
    flagged = np.concatenate([block.flagged("IS_NAVIGATION_DATA") for block in blocks])
    np.testing.assert_array_equal(flagged, IS_NAVIGATOR)


def test_scans_with_flags_or_without_a_repeated_line_pass_as_they_are() -> None:
    plain = spokes(np.zeros(60, bool))
    assert list(FindNavigators()([plain], CONTEXT)) == [plain]
    headers = spokes().headers.copy()
    headers["flags"][5] |= np.uint64(FLAG_BITS["IS_NAVIGATION_DATA"])
    known = replace(spokes(), headers=headers)
    assert list(FindNavigators()([known], CONTEXT)) == [known]
