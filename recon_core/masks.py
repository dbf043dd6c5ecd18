"""Sampling patterns for retrospective undersampling: seeded, with a calibration region, true to their rate.

Every pattern is a bool tensor on the k-space grid, centre at n // 2: lines along kx, as (ky, kx), from
`random_lines`, `equispaced_lines`, `gaussian_lines`; points in a plane, as (ky, kx) or (kz, ky), from
`poisson_disc`, `radial`, `spiral`. Acceleration counts all samples, calibration included: the rate asked for
is the rate got (to one line or a few points), but for `equispaced_lines`. `true_acceleration` states it.
"""

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch

from recon_core.errors import InputError

Shape = tuple[int, int]
N_BISECTIONS = 12


def true_acceleration(mask: torch.Tensor) -> float:
    """Grid points over samples."""
    return mask.numel() / int(mask.sum())


def random_lines(
    shape: Shape, acceleration: float, *, n_calibration: int = 24, seed: int = 0
) -> torch.Tensor:
    """Lines drawn uniformly, without repetition, around `n_calibration` central ones."""
    return _drawn_lines("random_lines", shape, acceleration, n_calibration, seed, torch.ones(shape[0]))


def gaussian_lines(
    shape: Shape, acceleration: float, *, n_calibration: int = 24, width: float = 0.25, seed: int = 0
) -> torch.Tensor:
    """Lines drawn without repetition, with Gaussian density of standard deviation `width`·ny."""
    distance = (torch.arange(shape[0]) - shape[0] // 2) / (width * shape[0])
    density = torch.exp(-distance.square() / 2)
    return _drawn_lines("gaussian_lines", shape, acceleration, n_calibration, seed, density)


def equispaced_lines(
    shape: Shape, acceleration: int, *, n_calibration: int = 24, offset: int | None = None, seed: int = 0
) -> torch.Tensor:
    """Every `acceleration`-th line, strictly, and `n_calibration` central ones.

    As on a scanner, `acceleration` is the spacing; calibration lines make the true acceleration smaller.
    The first line is `offset`, drawn from `seed` where none is given.
    """
    _require_rate("equispaced_lines", shape, acceleration)
    if offset is None:
        offset = int(torch.randint(acceleration, (), generator=_generator(seed)))
    lines = _central(shape[0], n_calibration)
    lines[offset % acceleration :: acceleration] = True
    return _along_readout(lines, shape)


def poisson_disc(
    shape: Shape, acceleration: float, *, calibration: Shape = (24, 24), seed: int = 0
) -> torch.Tensor:
    """Variable-density Poisson disc: samples keep a distance r(k) that grows away from the centre.

    r = max(1, slope·ρ) in grid steps, ρ the distance to the centre relative to the nearest edge; each
    sample, taken in random order, keeps later ones at least its own r away (dart throwing; the law is that
    of Bridson 2007, doi:10.1145/1278780.1278807). The slope is found by bisection, then surplus samples are
    dropped at random.
    """
    n_wanted = _n_wanted("poisson_disc", shape, acceleration, calibration)
    generator = _generator(seed)
    order = torch.randperm(shape[0] * shape[1], generator=generator).numpy()
    region = _central_block(shape, calibration)

    def thrown(slope: float) -> torch.Tensor:
        return _dart_throwing(shape, order, slope) | region

    mask = _sparsest_with(n_wanted, thrown, 4 * math.sqrt(acceleration) + 4)
    surplus = torch.nonzero((mask & ~region).flatten())[:, 0]
    drawn = torch.randperm(len(surplus), generator=generator)[: int(mask.sum()) - n_wanted]
    mask.view(-1)[surplus[drawn]] = False
    return mask


def radial(
    shape: Shape, acceleration: float, *, calibration: Shape = (24, 24), seed: int = 0
) -> torch.Tensor:
    """Golden-angle spokes on the grid (Winkelmann et al. 2007, doi:10.1109/TMI.2006.885337).

    Spokes are added from an angle given by `seed`; the last is cut short on both sides to meet the rate.
    """
    n_wanted = _n_wanted("radial", shape, acceleration, calibration)
    angle_rad = math.pi * float(torch.rand((), generator=_generator(seed)))
    mask = _central_block(shape, calibration)
    while int(mask.sum()) < n_wanted:
        added = torch.nonzero(_on_grid(shape, *_spoke(shape, angle_rad)) & ~mask)
        innermost = (added - torch.tensor(shape) // 2).square().sum(dim=1).argsort(stable=True)
        rows, columns = added[innermost[: n_wanted - int(mask.sum())]].T
        mask[rows, columns] = True
        angle_rad += math.pi * (math.sqrt(5) - 1) / 2
    return mask


def spiral(
    shape: Shape, acceleration: float, *, calibration: Shape = (24, 24), seed: int = 0
) -> torch.Tensor:
    """One Archimedean spiral out to the corners, on the grid, from an angle given by `seed`.

    The distance between its turns is found by bisection.
    """
    n_wanted = _n_wanted("spiral", shape, acceleration, calibration)
    start_rad = 2 * math.pi * float(torch.rand((), generator=_generator(seed)))
    region = _central_block(shape, calibration)

    def wound(pitch: float) -> torch.Tensor:
        return _on_grid(shape, *_archimedean(shape, max(pitch, 0.5), start_rad)) | region

    return _sparsest_with(n_wanted, wound, 8 * acceleration + 8)


def _drawn_lines(
    where: str, shape: Shape, acceleration: float, n_calibration: int, seed: int, density: torch.Tensor
) -> torch.Tensor:
    n_lines = round(shape[0] / _require_rate(where, shape, acceleration))
    lines = _central(shape[0], n_calibration)
    n_drawn = n_lines - int(lines.sum())
    if n_drawn < 0:
        raise InputError(
            f"{where}: expected at most {n_lines} calibration lines at acceleration {acceleration:g}, "
            f"got {n_calibration}; lower either"
        )
    if n_drawn:
        weights = density.masked_fill(lines, 0)
        lines[torch.multinomial(weights, n_drawn, generator=_generator(seed))] = True
    return _along_readout(lines, shape)


def _sparsest_with(n_wanted: int, pattern: Callable[[float], torch.Tensor], sparse: float) -> torch.Tensor:
    """The sparsest pattern found with at least `n_wanted` samples; patterns thin out from 0 to `sparse`."""
    dense, best = 0.0, pattern(0.0)
    for _ in range(N_BISECTIONS):
        middle = (dense + sparse) / 2
        mask = pattern(middle)
        if int(mask.sum()) >= n_wanted:
            dense = middle
            best = mask if int(mask.sum()) < int(best.sum()) else best
        else:
            sparse = middle
    return best


def _dart_throwing(shape: Shape, order: npt.NDArray[np.int64], slope: float) -> torch.Tensor:
    """Points taken in `order` unless an earlier one keeps them away.

    One numpy stamp per point: the law is sequential, and a pattern is made once.
    """
    rows, columns = (np.abs(np.arange(n) - n // 2) / max(n / 2, 1) for n in shape)
    radius_squared = np.maximum(slope**2 * (rows[:, None] ** 2 + columns**2), 1.0).ravel().tolist()
    margin = math.ceil(slope * math.sqrt(2)) + 1
    free = np.ones((shape[0] + 2 * margin, shape[1] + 2 * margin), dtype=bool)
    taken = np.zeros(shape, dtype=bool)
    far_enough: dict[int, npt.NDArray[np.bool_]] = {}
    for point in order.tolist():
        y, x = divmod(point, shape[1])
        if not free[y + margin, x + margin]:
            continue
        taken[y, x] = True
        # Squared distances on the grid are integers, so only the ceiling of r² matters.
        limit = math.ceil(radius_squared[point])
        if limit == 1:
            continue
        reach = math.isqrt(limit - 1)
        if limit not in far_enough:
            steps = np.arange(-reach, reach + 1) ** 2
            far_enough[limit] = steps[:, None] + steps >= limit
        y_first, x_first = y + margin - reach, x + margin - reach
        free[y_first : y_first + 2 * reach + 1, x_first : x_first + 2 * reach + 1] &= far_enough[limit]
    return torch.from_numpy(taken)


def _spoke(shape: Shape, angle_rad: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Points (y, x) half a step apart along a line through the centre, out to the corners."""
    reach = math.hypot(*shape) / 2
    along = torch.linspace(-reach, reach, 2 * math.ceil(2 * reach) + 1)
    return along * math.sin(angle_rad), along * math.cos(angle_rad)


def _archimedean(shape: Shape, pitch: float, start_rad: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Points (y, x) at most half a step apart on r = pitch·θ/2π, out to the corners."""
    reach = math.hypot(*shape) / 2
    length = math.pi * reach**2 / pitch
    # Arc length grows with θ², so its root is the equidistant parameter.
    theta_rad = 2 * math.pi * reach / pitch * torch.linspace(0, 1, math.ceil(2 * length) + 2).sqrt()
    radius = pitch * theta_rad / (2 * math.pi)
    return radius * torch.sin(theta_rad + start_rad), radius * torch.cos(theta_rad + start_rad)


def _on_grid(shape: Shape, y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """The grid points nearest to the given ones, about the centre."""
    rows, columns = (torch.round(a).long() + n // 2 for a, n in zip((y, x), shape, strict=True))
    inside = (rows >= 0) & (rows < shape[0]) & (columns >= 0) & (columns < shape[1])
    mask = torch.zeros(shape, dtype=torch.bool)
    mask[rows[inside], columns[inside]] = True
    return mask


def _central(n: int, n_central: int) -> torch.Tensor:
    """The `n_central` samples about n // 2, as `fourier.resize` crops them."""
    samples = torch.zeros(n, dtype=torch.bool)
    first = max(n // 2 - n_central // 2, 0)
    samples[first : first + n_central] = True
    return samples


def _central_block(shape: Shape, calibration: Shape) -> torch.Tensor:
    rows, columns = (_central(n, wanted) for n, wanted in zip(shape, calibration, strict=True))
    return rows[:, None] & columns


def _along_readout(lines: torch.Tensor, shape: Shape) -> torch.Tensor:
    return lines[:, None].expand(shape).clone()


def _n_wanted(where: str, shape: Shape, acceleration: float, calibration: Shape) -> int:
    n_wanted = round(shape[0] * shape[1] / _require_rate(where, shape, acceleration))
    n_calibration = int(_central_block(shape, calibration).sum())
    if n_calibration > n_wanted:
        raise InputError(
            f"{where}: expected a calibration region of at most {n_wanted} samples at acceleration "
            f"{acceleration:g}, got {n_calibration}; lower either"
        )
    return n_wanted


def _require_rate(where: str, shape: Shape, acceleration: float) -> float:
    if not 1 <= acceleration <= shape[0] * shape[1]:
        raise InputError(
            f"{where}: expected an acceleration from 1 to the number of samples, got {acceleration:g}"
        )
    return acceleration


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
