"""Which lines of a k-space should have been acquired."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from gadgets.encoding import Encoding
from recon_core.calibration import calibration_block
from recon_core.lattice import lattice_offset, regular_acceleration


class Lines(NamedTuple):
    """How many lines of an image the protocol asks for, and how many of these are not there."""

    n_missing: int
    n_expected: int


def missing_lines(lines: npt.NDArray[np.bool_], encoding: Encoding) -> Lines:
    """Compare the lines acquired, `(kz, ky)`, with the lattice inside the encoding limits.

    The acceleration is the header's or, where that tells none, the one seen. A three-dimensional scan may
    leave out the corners of its outline. A line off the lattice and outside the calibration block tells of
    sampling at random, which is no fault: then all lines, calibration included, are counted and no more.
    """
    seen = torch.from_numpy(lines)
    rates = encoding.acceleration[1], encoding.acceleration[0]
    if rates == (1, 1):
        rates = regular_acceleration(seen) or rates
    z, y = lattice_offset(seen, rates)
    lattice = np.zeros_like(lines)
    lattice[z :: rates[0], y :: rates[1]] = True
    outline = _outline(lines, encoding)
    expected = lattice & outline
    strays = lines & ~lattice
    block = calibration_block(seen[..., None])
    if block is not None:
        strays[block[:2]] = False
    if strays.any():
        n_expected = int(outline.sum()) // (rates[0] * rates[1])
        return Lines(max(n_expected - int(lines.sum()), 0), n_expected)
    return Lines(int((expected & ~lines).sum()), int(expected.sum()))


def _outline(lines: npt.NDArray[np.bool_], encoding: Encoding) -> npt.NDArray[np.bool_]:
    """The lines inside the encoding limits; inside their ellipse when no line lies outside that."""
    n_z, n_y = lines.shape
    z0, z1 = _range(encoding, "kspace_encode_step_2", n_z)
    y0, y1 = _range(encoding, "kspace_encode_step_1", n_y)
    box = np.zeros_like(lines)
    box[z0:z1, y0:y1] = True
    if min(z1 - z0, y1 - y0) < 3:
        return box
    z, y = np.ogrid[:n_z, :n_y]
    distance = np.hypot((z - n_z // 2) / ((z1 - z0) / 2), (y - n_y // 2) / ((y1 - y0) / 2))
    # Protocols round the rim of the ellipse either way.
    rim = 2 / min(z1 - z0, y1 - y0)
    is_elliptic = not (lines & (distance > 1 + rim)).any()
    return box & (distance <= 1 - rim) if is_elliptic else box


def _range(encoding: Encoding, counter: str, n: int) -> tuple[int, int]:
    limit = encoding.limits.get(counter)
    if limit is None:
        return 0, n
    first = limit.minimum - limit.center + n // 2
    last = limit.maximum - limit.center + n // 2
    return max(first, 0), min(last + 1, n)
