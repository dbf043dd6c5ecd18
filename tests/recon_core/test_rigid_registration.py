"""Registration: known motions of anatomy that needs no interpolation, and of real heads."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from recon_core.image_geometry import ImageGeometry
from recon_core.resample import resample
from recon_core.rigid_registration import Alignment, in_plane_motion, register_in_plane, search_grid
from tests.recon_core.tissue import T1, T2, tissue

TARGET = ImageGeometry(
    matrix=(120, 100, 1),
    fov_mm=(240.0, 220.0, 5.0),
    centre_mm=(5.0, -8.0, 12.0),
    directions=((0.96, 0.28, 0.0), (-0.28, 0.96, 0.0), (0.0, 0.0, 1.0)),
)


def aligned(
    guide: torch.Tensor, guide_geometry: ImageGeometry, target: torch.Tensor, target_geometry: ImageGeometry
) -> Alignment:
    grid = search_grid(target_geometry)
    images = (resample(guide, guide_geometry, grid), resample(target, target_geometry, grid))
    return register_in_plane(*images[0], *images[1], grid)


def misfit(motion: torch.Tensor, expected: torch.Tensor, geometry: ImageGeometry) -> tuple[float, float]:
    """Millimetres at the centre, and degrees."""
    error = motion @ torch.linalg.inv(expected)
    centre = torch.tensor([*geometry.centre_mm, 1.0], dtype=torch.float64)
    cosine = (float(error[:3, :3].trace()) - 1) / 2
    return float((error @ centre - centre).norm()), math.degrees(math.acos(min(1.0, cosine)))


@pytest.mark.parametrize(
    ("angle_deg", "shift_mm"),
    [(0.0, (0.0, 0.0)), (10.0, (-10.0, 4.3)), (-7.3, (9.1, 9.8)), (2.6, (0.4, -0.7))],
)
def test_a_known_motion_is_found_whatever_the_contrast_and_the_grid(
    angle_deg: float, shift_mm: tuple[float, float]
) -> None:
    guide_geometry = replace(TARGET, matrix=(90, 110, 1), fov_mm=(250.0, 260.0, 3.0))
    expected = in_plane_motion(TARGET, angle_deg, shift_mm)
    claimed = guide_geometry.moved(torch.linalg.inv(expected))
    found = aligned(tissue(guide_geometry, T1), claimed, tissue(TARGET, T2), TARGET)
    mm, degrees = misfit(found.motion, expected, TARGET)
    assert mm < 0.5
    assert degrees < 0.3
    assert found.is_inside
    assert found.angle_deg == pytest.approx(angle_deg, abs=0.3)
    assert found.shift_mm == pytest.approx(shift_mm, abs=0.5)


def test_a_motion_common_to_several_slices_is_found_once() -> None:
    stack = replace(TARGET, matrix=(120, 100, 3), fov_mm=(240.0, 220.0, 24.0), thickness_mm=5.0)
    expected = in_plane_motion(stack, -4.0, (6.0, -3.0))
    found = aligned(tissue(stack, T1), stack.moved(torch.linalg.inv(expected)), tissue(stack, T2), stack)
    mm, degrees = misfit(found.motion, expected, stack)
    assert mm < 0.5
    assert degrees < 0.3


def test_where_the_field_of_view_ends_is_no_edge_of_tissue() -> None:
    """The object fills both fields of view, so that their ends would agree best without any motion."""
    target = replace(TARGET, fov_mm=(120.0, 100.0, 5.0))
    expected = in_plane_motion(target, 0.0, (8.0, -6.0))
    guide = tissue(target, T1, head_mm=300.0)
    found = aligned(
        guide, target.moved(torch.linalg.inv(expected)), tissue(target, T2, head_mm=300.0), target
    )
    assert misfit(found.motion, expected, target)[0] < 0.5


def test_what_lies_beyond_the_search_is_not_called_found() -> None:
    for angle_deg, shift_mm in ((20.0, (0.0, 0.0)), (0.0, (25.0, 0.0))):
        claimed = TARGET.moved(in_plane_motion(TARGET, angle_deg, shift_mm))
        found = aligned(tissue(TARGET, T1), claimed, tissue(TARGET, T2), TARGET)
        assert not found.is_inside or found.similarity < 0.1


def test_unlike_images_and_empty_ones_are_unlike() -> None:
    mine, another = tissue(TARGET, T2), tissue(TARGET, T1, patient=1)
    similarity = aligned(tissue(TARGET, T1), TARGET, mine, TARGET).similarity
    assert similarity > 3 * max(0.05, aligned(another, TARGET, mine, TARGET).similarity)
    assert aligned(torch.zeros_like(mine), TARGET, mine, TARGET).similarity == 0


def test_the_motion_turns_about_the_centre_from_x_to_y_and_then_shifts() -> None:
    motion = in_plane_motion(TARGET, 90.0, (3.0, -2.0))
    x, y, z = torch.tensor(TARGET.directions, dtype=torch.float64)
    centre = torch.tensor(TARGET.centre_mm, dtype=torch.float64)
    moved = motion @ torch.cat([centre + 10 * x + 4 * z, torch.ones(1)])
    torch.testing.assert_close(moved[:3], centre + 3 * x + (10 - 2) * y + 4 * z)


@pytest.mark.parametrize(
    ("file", "fixed", "moving", "voxel_mm", "number"),
    [
        ("brain_multicontrast_t1_t1c_t2_flair", "T2", "T1", 1.0, 90),
        ("brain_multicontrast_t1_pd_mt", "T1w", "PDw", 1.5, 60),
    ],
)
def test_known_motions_of_real_heads_are_recovered(
    shared_data: Path, file: str, fixed: str, moving: str, voxel_mm: float, number: int
) -> None:
    """Against what is found without the motion: how well the contrasts agree as stored is not known."""
    images = np.load(shared_data / "images" / f"{file}.npz")
    target, guide = (
        torch.from_numpy(images[name][:, :, number].astype(np.float32))[None] for name in (fixed, moving)
    )
    n_y, n_x = target.shape[1:]
    geometry = ImageGeometry(matrix=(n_x, n_y, 1), fov_mm=(n_x * voxel_mm, n_y * voxel_mm, 3.0))
    as_stored = aligned(guide, geometry, target, geometry).motion
    for angle_deg, shift_mm in ((9.0, (-8.0, 7.0)), (-5.0, (3.3, 9.6))):
        added = in_plane_motion(geometry, angle_deg, shift_mm)
        found = aligned(guide, geometry.moved(torch.linalg.inv(added)), target, geometry)
        mm, degrees = misfit(found.motion, as_stored @ added, geometry)
        assert mm < 0.5
        assert degrees < 0.5
