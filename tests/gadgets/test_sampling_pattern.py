"""Lines that should be there and are not."""

import numpy as np
import pytest

from gadgets.encoding import Encoding, Limit
from gadgets.sampling_pattern import missing_lines
from tests.gadgets.small_scan import context, encoding


def protocol(n_z: int, n_y: int, acceleration: tuple[int, int] = (1, 1), **limits: Limit) -> Encoding:
    return Encoding(
        encoded_matrix=(16, n_y, n_z),
        encoded_fov_mm=(1, 1, 1),
        recon_matrix=(16, n_y, n_z),
        recon_fov_mm=(1, 1, 1),
        limits=limits,
        acceleration=acceleration,
    )


def mask(n: int, *lines: int) -> np.ndarray:
    sampled = np.zeros((1, n), bool)
    sampled[0, list(lines)] = True
    return sampled


@pytest.mark.parametrize(
    ("lines", "encoding", "wanted"),
    [
        (range(32), protocol(1, 32), (0, 32)),
        (range(20), protocol(1, 32), (12, 32)),
        (set(range(32)) - {5, 6, 30}, protocol(1, 32), (3, 32)),
        (range(0, 32, 2), protocol(1, 32), (0, 16)),
        (range(0, 32, 2), protocol(1, 32, (2, 1)), (0, 16)),
        (range(1, 32, 2), protocol(1, 32, (2, 1)), (0, 16)),
        ({*range(0, 32, 4), *range(12, 20)}, protocol(1, 32, (4, 1)), (0, 8)),
        (set(range(0, 32, 2)) - {4, 20}, protocol(1, 32, (2, 1)), (2, 16)),
        (range(32), protocol(1, 32, (2, 1)), (0, 16)),
        (range(6, 26), protocol(1, 32, kspace_encode_step_1=Limit(0, 19, 10)), (0, 20)),
        ({0, 3, 7, 9, 12, *range(14, 20), 22, 24, 27, 29}, protocol(1, 32, (3, 1)), (0, 10)),
        ({1, 9, *range(13, 20), 30}, protocol(1, 32, (3, 1)), (0, 10)),
        ({2, *range(13, 20)}, protocol(1, 32, (3, 1)), (2, 10)),
    ],
    ids=[
        "full",
        "cut",
        "holes",
        "seen R=2",
        "R=2",
        "odd R=2",
        "R=4+ACS",
        "R=2 holes",
        "R=2 full",
        "limits",
        "random",
        "random, centre counted",
        "random, cut",
    ],
)
def test_two_dimensional_patterns(lines: set[int], encoding: Encoding, wanted: tuple[int, int]) -> None:
    assert missing_lines(mask(32, *lines), encoding) == wanted


def test_elliptic_volumes_lack_nothing_and_cut_ones_do() -> None:
    z, y = np.ogrid[:16, :24]
    ellipse = np.hypot((z - 8) / 8, (y - 12) / 12) <= 1
    assert missing_lines(ellipse, protocol(16, 24)).n_missing == 0
    ellipse[12:] = False
    assert missing_lines(ellipse, protocol(16, 24)).n_missing > 20
    full = np.ones((16, 24), bool)
    assert missing_lines(full, protocol(16, 24)) == (0, 384)
    full[13:] = False
    assert missing_lines(full, protocol(16, 24)) == (72, 384)


@pytest.mark.parametrize("first", [18, 19, 20])
def test_holes_are_seen_beside_a_calibration_block_off_the_centre(first: int) -> None:
    sampled = mask(64, *range(0, 64, 2), *range(first, 43))
    sampled[0, [4, 6, 50]] = False
    assert missing_lines(sampled, protocol(1, 64, (2, 1))) == (3, 32)


def test_an_acceleration_of_zero_in_the_header_is_none() -> None:
    scan = context(encoding((16, 32, 1), acceleration=(1, 0)))
    assert Encoding.from_header(scan.header).acceleration == (1, 1)


def test_two_accelerated_axes() -> None:
    sampled = np.zeros((16, 24), bool)
    sampled[::2, ::3] = True
    sampled[4:12, 8:16] = True
    assert missing_lines(sampled, protocol(16, 24, (3, 2))) == (0, 64)
    sampled[14, 21] = False
    assert missing_lines(sampled, protocol(16, 24, (3, 2))) == (1, 64)
