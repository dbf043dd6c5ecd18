"""An image on the grid of another: interpolated, averaged over thick slices, band-limited to large voxels."""

import itertools
import math
from dataclasses import replace

import torch

from recon_core.errors import InputError
from recon_core.fourier import fft, ifft, resize
from recon_core.image_geometry import ImageGeometry

_PLANE = (-2, -1)
_PARALLEL = 0.05
"""Share of a slice distance by which planes may cross within the target and count as parallel."""
_EDGE = 1e-3
"""Voxels by which rounding may put a point outside."""
_SLACK = 0.15
"""Voxels that points may lie farther apart than one: cubic interpolation passes little of what folds then."""
_MAX_STEPS = 10
"""Points along a side of a voxel: more than scans of patients need, few enough for any header."""
_Grid = tuple[int, int, torch.Tensor]
"""Points along x and y, and where along z the layers lie that divide a slice's thickness."""


def resample(
    image: torch.Tensor, geometry: ImageGeometry, target: ImageGeometry
) -> tuple[torch.Tensor, torch.Tensor]:
    """What `image` shows at the voxels of `target`, wherever the two lie.

    Interpolation is cubic in the image's planes (Keys 1981, doi:10.1109/TASSP.1981.1163711) and linear
    through them. Across target slices thicker than the distance between the image's, the mean over their
    thickness is taken. In planes of larger voxels than the image's, the image is sampled finely and cropped
    in k-space to what the target's matrix resolves, as a scan of the target's resolution would have shown it.

    Args:
        image: `(*batch, z, y, x)`, complex or real: a volume, or a stack of slices with or without gaps.
        geometry: where `image` lies.
        target: the grid wanted.

    Returns:
        `(*batch, z', y', x')` on the target's grid, zero where not covered, and `(z', y', x')` boolean: what
        is covered. A voxel is when at least half its slice's thickness lies within half a thickness of a
        slice of the image, or between two that are no more than two thicknesses apart.

    Raises:
        InputError: the image is not of its geometry's matrix.
    """
    n_x, n_y, n_z = target.matrix
    if tuple(image.shape[-3:]) != geometry.matrix[::-1]:
        raise InputError(
            f"resample: expected an image of its geometry's {geometry.matrix[::-1]} (z, y, x), "
            f"got {tuple(image.shape[-3:])}; give the geometry of this image"
        )
    step_x, step_y, step_z = _steps(geometry, target)
    fine = replace(target, matrix=(n_x * step_x, n_y * step_y, n_z))
    volumes = image.reshape(-1, *image.shape[-3:])
    volumes = volumes if image.is_complex() or image.is_floating_point() else volumes.float()
    to_voxel = torch.linalg.solve(geometry.affine, fine.affine)[:3]
    layers = ((torch.arange(step_z) + 0.5) / step_z - 0.5) * (target.slice_mm / target.voxel_mm[2])
    slices = [_slice(volumes, geometry, to_voxel, (*fine.matrix[:2], z + layers)) for z in range(n_z)]
    sampled = torch.stack([values for values, _ in slices], dim=1)
    sampled = sampled.reshape(*image.shape[:-3], *sampled.shape[1:])
    covered = torch.stack([inside for _, inside in slices])
    if (step_x, step_y) == (1, 1):
        return sampled, covered
    # Voxel n // 2 is at the same place in both.
    rows, columns = ((n * step) // 2 - n // 2 * step for n, step in ((n_y, step_y), (n_x, step_x)))
    covered = covered[:, rows::step_y, columns::step_x]
    coarse = ifft(resize(fft(sampled, _PLANE), (n_y, n_x)), _PLANE) / math.sqrt(step_x * step_y)
    return (coarse if image.is_complex() else coarse.real) * covered, covered


def _steps(geometry: ImageGeometry, target: ImageGeometry) -> tuple[int, int, int]:
    """Points along each side of a voxel of the target, about a voxel of the image apart at most."""
    sides = torch.linalg.solve(geometry.affine, target.affine)[:3, :3]
    sides[:, 2] *= target.slice_mm / target.voxel_mm[2]
    longest = sides.abs().amax(dim=0).clamp(max=_MAX_STEPS).tolist()
    x, y, z = (max(1, math.ceil(length - _SLACK)) for length in longest)
    return x, y, z


def _slice(
    volumes: torch.Tensor, geometry: ImageGeometry, to_voxel: torch.Tensor, grid: _Grid
) -> tuple[torch.Tensor, torch.Tensor]:
    """`(volume, y, x)`: the mean over the layers inside the image; and `(y, x)`: where most layers are."""
    n_x, n_y, _ = grid
    points = _points(to_voxel, grid, volumes)
    inside = _inside(points, geometry)
    n_inside = inside.sum(dim=0)
    covered = 2 * n_inside >= len(inside)
    if not inside.any():
        return volumes.new_zeros(len(volumes), n_y, n_x), covered
    if _is_parallel(to_voxel, grid):
        depths = points[2, inside.flatten(1).any(dim=1), 0, 0]
        return _interpolated(_mixed(volumes, depths), points[:, 0]) * covered, covered
    total = volumes.new_zeros(len(volumes), n_y, n_x)
    for layer, is_in in zip(points.unbind(1), inside, strict=True):
        total += _interpolated(volumes, layer) * is_in
    return total * covered / n_inside.clamp(min=1), covered


def _points(to_voxel: torch.Tensor, grid: _Grid, like: torch.Tensor) -> torch.Tensor:
    """`(xyz, layer, y, x)`: the points of a slice, in voxels of the image."""
    n_x, n_y, layers = grid
    to_voxel, layers = to_voxel[:, :, None, None, None], layers.double()[:, None, None]
    x, y = torch.arange(n_x), torch.arange(n_y)[:, None]
    in_plane = to_voxel[:, 0] * x + to_voxel[:, 1] * y
    return (in_plane + (to_voxel[:, 2] * layers + to_voxel[:, 3])).to(like.device, like.real.dtype)


def _is_parallel(to_voxel: torch.Tensor, grid: _Grid) -> bool:
    """Whether each layer stays within a slice of the image, and all lie at the same x and y."""
    n_x, n_y, layers = grid
    crossing = abs(float(to_voxel[2, 0])) * n_x + abs(float(to_voxel[2, 1])) * n_y
    leaning = float(to_voxel[:2, 2].abs().max() * (layers[-1] - layers[0]))
    return max(crossing, leaning) < _PARALLEL


def _inside(points: torch.Tensor, geometry: ImageGeometry) -> torch.Tensor:
    """Which points lie in the image, as `resample` has it."""
    n_x, n_y, n_z = geometry.matrix
    x, y, z = points
    inside: torch.Tensor = (x + 0.5 > -_EDGE) & (x + 0.5 < n_x + _EDGE)
    inside &= (y + 0.5 > -_EDGE) & (y + 0.5 < n_y + _EDGE)
    thickness = geometry.slice_mm / geometry.voxel_mm[2]
    in_slice: torch.Tensor = (z - z.round().clamp(0, n_z - 1)).abs() <= thickness / 2 + _EDGE
    if thickness >= 0.5:
        in_slice |= (z >= 0) & (z <= n_z - 1)
    return inside & in_slice


def _mixed(volumes: torch.Tensor, depths: torch.Tensor) -> torch.Tensor:
    """`(volume, 1, y, x)`: the mean over parallel layers, each interpolated between two slices."""
    numbers = torch.arange(volumes.shape[1], device=depths.device)
    distances = (depths.clamp(0, len(numbers) - 1)[:, None] - numbers).abs()
    weights = (1 - distances).clamp(min=0).mean(dim=0)
    used = weights.nonzero()[:, 0]
    return torch.einsum("z,vzyx->vyx", weights[used].to(volumes.dtype), volumes[:, used])[:, None]


def _interpolated(volumes: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """`(volume, y, x)` at points `(xyz, y, x)`, cubic along x and y, linear along z."""
    n_z, n_y, n_x = volumes.shape[-3:]
    x, y, z = points.flatten(1)
    along_x, along_y, along_z = _cubic(x, n_x), _cubic(y, n_y), _linear(z, n_z)
    flat = volumes.reshape(len(volumes), -1)
    total = volumes.new_zeros(len(volumes), len(x))
    for (k, weight_z), (j, weight_y) in itertools.product(along_z, along_y):
        first = (k * n_y + j) * n_x
        line = sum(flat.index_select(1, first + i) * weight_x for i, weight_x in along_x)
        total += line * (weight_z * weight_y)
    return total.reshape(len(volumes), *points.shape[1:])


_Taps = list[tuple[torch.Tensor, torch.Tensor]]
"""Indices and weights of neighbours; beyond the edge the voxel at the edge counts."""


def _linear(position: torch.Tensor, n: int) -> _Taps:
    if n == 1:
        return [(torch.zeros_like(position, dtype=torch.int32), torch.ones_like(position))]
    first = position.floor()
    t = position - first
    return [(_index(first + i, n), weight) for i, weight in enumerate((1 - t, t))]


def _cubic(position: torch.Tensor, n: int) -> _Taps:
    first = position.floor()
    t = position - first
    weights = (
        ((-0.5 * t + 1) * t - 0.5) * t,
        (1.5 * t - 2.5) * t * t + 1,
        ((-1.5 * t + 2) * t + 0.5) * t,
        (0.5 * t - 0.5) * t * t,
    )
    return [(_index(first + i - 1, n), weight) for i, weight in enumerate(weights)]


def _index(position: torch.Tensor, n: int) -> torch.Tensor:
    return position.clamp(0, n - 1).int()
