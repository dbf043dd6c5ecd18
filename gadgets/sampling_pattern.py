"""Which lines of a k-space should have been acquired."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from gadgets.encoding import Encoding
from recon_core.lattice import fills_a_block, lattice_offset, regular_acceleration


class Lines(NamedTuple):
    """How many lines of an image the protocol asks for, and how many of these are not there."""

    n_missing: int
    n_expected: int


def missing_lines(lines: npt.NDArray[np.bool_], encoding: Encoding) -> Lines:
    """Compare the lines acquired, `(kz, ky)`, with the lattice inside the encoding limits.

    The acceleration is the header's or, where that tells none, the one seen. A three-dimensional scan may
    leave out the corners of its outline. Lines off the lattice that do not fill a block tell of
    sampling at random, which is no fault: then all lines, calibration included, are counted and no more.
    """
    rates = _header_rates(encoding)
    if rates == (1, 1):
        rates = regular_acceleration(torch.from_numpy(lines)) or rates
    return _missing_from_lattice(lines, encoding, rates)


def is_whole(lines: npt.NDArray[np.bool_], encoding: Encoding) -> bool:
    """Whether nothing of a volume is outstanding.

    By the header's acceleration alone, since a pattern seen half-way misleads. Every partition must have
    lines, the outermost ones too, of which an ellipse leaves in doubt how many.
    """
    rates = _header_rates(encoding)
    n_z = len(lines)
    first, stop = line_range(encoding, "kspace_encode_step_2", n_z)
    z_offset, _ = lattice_offset(torch.from_numpy(lines), rates)
    partitions = [z for z in range(z_offset, n_z, rates[0]) if first <= z < stop]
    inside = [z for z in partitions if abs(z - n_z // 2) < _reach(first, stop, n_z)]
    return (
        bool(lines[inside].any(axis=1).all()) and not _missing_from_lattice(lines, encoding, rates).n_missing
    )


def _header_rates(encoding: Encoding) -> tuple[int, int]:
    """Acceleration along (kz, ky)."""
    along_y, along_z = encoding.acceleration
    return along_z, along_y


def _missing_from_lattice(lines: npt.NDArray[np.bool_], encoding: Encoding, rates: tuple[int, int]) -> Lines:
    seen = torch.from_numpy(lines)
    z, y = lattice_offset(seen, rates)
    lattice = np.zeros_like(lines)
    lattice[z :: rates[0], y :: rates[1]] = True
    outline = _outline(lines, encoding)
    expected = lattice & outline
    if not fills_a_block(seen, torch.from_numpy(lines & ~lattice)):
        n_expected = int(outline.sum()) // (rates[0] * rates[1])
        return Lines(max(n_expected - int(lines.sum()), 0), n_expected)
    return Lines(int((expected & ~lines).sum()), int(expected.sum()))


def _outline(lines: npt.NDArray[np.bool_], encoding: Encoding) -> npt.NDArray[np.bool_]:
    """The lines inside the encoding limits; inside their ellipse when no line lies outside that."""
    n_z, n_y = lines.shape
    z0, z1 = line_range(encoding, "kspace_encode_step_2", n_z)
    y0, y1 = line_range(encoding, "kspace_encode_step_1", n_y)
    box = np.zeros_like(lines)
    box[z0:z1, y0:y1] = True
    if min(z1 - z0, y1 - y0) < 3:
        return box
    z, y = np.ogrid[:n_z, :n_y]
    distance = np.hypot((z - n_z // 2) / _reach(z0, z1, n_z), (y - n_y // 2) / _reach(y0, y1, n_y))
    # Protocols round the rim of the ellipse either way.
    rim = 2 / min(z1 - z0, y1 - y0)
    is_elliptic = not (lines & (distance > 1 + rim)).any()
    return box & (distance <= 1 - rim) if is_elliptic else box


def _reach(first: int, stop: int, n: int) -> float:
    """Half the width about the centre n // 2, of the longer side where partial Fourier makes them differ."""
    return max((stop - first) / 2, n // 2 - first, stop - 1 - n // 2)


def line_range(encoding: Encoding, counter: str, n: int) -> tuple[int, int]:
    """First line, and the one after the last, that the protocol may acquire of a matrix of `n`."""
    limit = encoding.limits.get(counter)
    if limit is None:
        return 0, n
    first = limit.minimum - limit.center + n // 2
    last = limit.maximum - limit.center + n // 2
    return max(first, 0), min(last + 1, n)
