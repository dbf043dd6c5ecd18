"""Geometry of images: voxels against their place computed by hand, stacks against their slices."""

from dataclasses import replace

import pytest
import torch

from recon_core.image_geometry import ImageGeometry, stacked

OBLIQUE = ((0.8, 0.6, 0.0), (-0.48, 0.64, 0.6), (0.36, -0.48, 0.8))
SLICE = ImageGeometry(
    matrix=(9, 6, 1), fov_mm=(90.0, 42.0, 5.0), centre_mm=(12.0, -7.0, 30.0), directions=OBLIQUE
)


def at(geometry: ImageGeometry, *voxel_xyz: float) -> torch.Tensor:
    return (geometry.affine @ torch.tensor([*voxel_xyz, 1.0], dtype=torch.float64))[:3]


def slices(*steps_mm: float, lean: float = 0.0) -> list[ImageGeometry]:
    """At these distances along the normal, and sideways along x."""
    normal, sideways = torch.tensor(OBLIQUE[2]), torch.tensor(OBLIQUE[0])
    centre = torch.tensor(SLICE.centre_mm)
    centres = [(centre + mm * normal + lean * mm * sideways).tolist() for mm in steps_mm]
    return [replace(SLICE, centre_mm=tuple(place)) for place in centres]


def test_a_voxel_lies_its_offset_from_the_middle_voxel_along_the_directions() -> None:
    read, phase, normal = torch.tensor(OBLIQUE, dtype=torch.float64)
    expected = torch.tensor([12.0, -7.0, 30.0]) + (7 - 4) * 10 * read + (1 - 3) * 7 * phase + 2 * 5 * normal
    assert torch.allclose(at(SLICE, 7, 1, 2), expected)


def test_what_moves_takes_every_voxel_along() -> None:
    motion = torch.eye(4, dtype=torch.float64)
    motion[:3, :3] = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    motion[:3, 3] = torch.tensor([3.0, 4.0, 5.0])
    assert torch.allclose(SLICE.moved(motion).affine, motion @ SLICE.affine)


@pytest.mark.parametrize("lean", [0.0, 0.2])
def test_the_voxels_of_a_stack_are_those_of_its_slices(lean: float) -> None:
    """With gaps of 2.5 mm between slices of 5 mm, upright and staggered."""
    of_slices = slices(0, 7.5, 15, 22.5, lean=lean)
    stack = stacked(of_slices)
    assert stack is not None
    assert (stack.matrix, stack.slice_mm) == ((9, 6, 4), 5.0)
    for z, one in enumerate(of_slices):
        assert torch.allclose(at(stack, 2, 5, z), at(one, 2, 5, 0), atol=1e-4)


def test_slices_that_are_no_even_stack_make_none() -> None:
    turned = replace(SLICE, directions=(OBLIQUE[1], OBLIQUE[2], OBLIQUE[0]), centre_mm=(0.0, 0.0, 0.0))
    finer = replace(SLICE, matrix=(18, 12, 1), centre_mm=(0.0, 0.0, 0.0))
    slab = replace(SLICE, matrix=(9, 6, 2))
    assert stacked(slices(0, 5, 20)) is None
    assert stacked(slices(0, 0)) is None
    assert stacked([SLICE, turned]) is None
    assert stacked([SLICE, finer]) is None
    assert stacked([slab, replace(slab, centre_mm=(0.0, 0.0, 0.0))]) is None
    assert stacked([slab]) == slab
