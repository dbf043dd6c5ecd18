"""Where an image lies in the patient: matrix, field of view, position and directions; stacks of slices."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch

Triple = tuple[float, float, float]

_SAME_MM = 1e-3
_SAME_DIRECTION = 1e-4
_EVEN = 0.01
"""Share of a step between slices by which steps may differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageGeometry:
    """The grid of an image `(z, y, x)` in patient coordinates: left, posterior, superior, in mm.

    Everything is in the order `(x, y, z)`, as MRD and DICOM have it. Voxel ``n // 2`` along each axis lies at
    `centre_mm`, where the centred Fourier transform puts the centre of the field of view.
    """

    matrix: tuple[int, int, int]
    fov_mm: Triple
    """Matrix times the distance between voxels, so that it holds the gaps of a stack of slices."""
    centre_mm: Triple = (0.0, 0.0, 0.0)
    directions: tuple[Triple, Triple, Triple] = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    """Unit vectors of x (read), y (phase) and z (slice); z leans where slices are staggered."""
    thickness_mm: float | None = None
    """Of one slice, where it is not the distance to the next."""

    @property
    def voxel_mm(self) -> Triple:
        """The distance between neighbouring voxels along `(x, y, z)`."""
        x, y, z = (length / n for length, n in zip(self.fov_mm, self.matrix, strict=True))
        return x, y, z

    @property
    def slice_mm(self) -> float:
        """The thickness of one slice."""
        return self.voxel_mm[2] if self.thickness_mm is None else self.thickness_mm

    @property
    def affine(self) -> torch.Tensor:
        """`(4, 4)` float64, from voxel indices `(x, y, z, 1)` to patient coordinates in mm."""
        affine = torch.eye(4, dtype=torch.float64)
        affine[:3, :3] = torch.tensor(self.directions, dtype=torch.float64).T * torch.tensor(
            self.voxel_mm, dtype=torch.float64
        )
        middle = torch.tensor([n // 2 for n in self.matrix], dtype=torch.float64)
        affine[:3, 3] = torch.tensor(self.centre_mm, dtype=torch.float64) - affine[:3, :3] @ middle
        return affine

    def moved(self, motion: torch.Tensor) -> Self:
        """Where the image lies after a rigid `motion`, `(4, 4)` in patient coordinates."""
        motion = motion.double()
        directions = torch.tensor(self.directions, dtype=torch.float64) @ motion[:3, :3].T
        x, y, z = (_triple(direction) for direction in directions)
        centre = motion[:3, :3] @ torch.tensor(self.centre_mm, dtype=torch.float64) + motion[:3, 3]
        return replace(self, centre_mm=_triple(centre), directions=(x, y, z))


def is_same_place(one: ImageGeometry, other: ImageGeometry) -> bool:
    """Whether both are centred on the same point."""
    return math.dist(one.centre_mm, other.centre_mm) < _SAME_MM


def stacked(slices: Sequence[ImageGeometry]) -> ImageGeometry | None:
    """The geometry of one image made of these, in this order along z; None where they are no even stack.

    An even stack has slices of one orientation, matrix and thickness, each one step from the one before.
    """
    first, last = slices[0], slices[-1]
    n = len(slices)
    if n == 1:
        return first
    centres = torch.tensor([one.centre_mm for one in slices], dtype=torch.float64)
    steps = centres.diff(dim=0)
    step = steps.mean(dim=0)
    length = float(step.norm())
    directions = torch.tensor([one.directions for one in slices], dtype=torch.float64)
    same_grid = all((one.matrix, one.fov_mm) == (first.matrix, first.fov_mm) for one in slices)
    same_way = bool((directions - directions[0]).abs().max() < _SAME_DIRECTION)
    even = bool((steps - step).norm(dim=1).max() < _EVEN * length)
    if first.matrix[2] != 1 or not (same_grid and same_way and even) or is_same_place(first, last):
        return None
    return replace(
        first,
        matrix=(*first.matrix[:2], n),
        fov_mm=(*first.fov_mm[:2], n * length),
        centre_mm=slices[n // 2].centre_mm,
        directions=(*first.directions[:2], _triple(step / length)),
        thickness_mm=first.slice_mm,
    )


def _triple(vector: torch.Tensor) -> Triple:
    x, y, z = vector.tolist()
    return x, y, z
