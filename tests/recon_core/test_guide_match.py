"""Guides: the right one brought into place, wrong ones refused with the reason."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from recon_core.fourier import fft, ifft
from recon_core.guide_match import match_guide
from recon_core.image_geometry import ImageGeometry
from recon_core.masks import random_lines
from recon_core.metrics import nrmse
from recon_core.resample import resample
from recon_core.rigid_registration import in_plane_motion
from tests.recon_core.tissue import T1, T2, tissue

TARGET = ImageGeometry(matrix=(128, 112, 1), fov_mm=(230.0, 215.0, 5.0), centre_mm=(4.0, -6.0, 3.0))
STACK = replace(TARGET, matrix=(140, 140, 5), fov_mm=(240.0, 240.0, 30.0), thickness_mm=5.0)


def moved(angle_deg: float, x_mm: float, y_mm: float, z_mm: float = 0.0) -> ImageGeometry:
    motion = in_plane_motion(TARGET, angle_deg, (x_mm, y_mm))
    motion[2, 3] += z_mm
    return STACK.moved(motion)


def test_a_guide_comes_to_where_the_target_shows_the_same_anatomy() -> None:
    """A patient who turned and shifted between a complex T1 stack and a complex T2 slice."""
    claimed = moved(-6.0, 7.0, -5.0)
    guide, expected = (1j * tissue(geometry, T1) for geometry in (STACK, TARGET))
    match = match_guide(guide, claimed, -tissue(TARGET, T2).to(torch.complex64), TARGET)
    assert match.reason == ""
    assert match.guide is not None
    assert match.covered is not None
    assert match.covered.double().mean() > 0.95
    by_header_alone = nrmse(resample(guide, claimed, TARGET)[0], expected)
    without_motion = nrmse(resample(guide, STACK, TARGET)[0], expected)
    assert nrmse(match.guide, expected) < 1.05 * without_motion < 0.3 * by_header_alone


@pytest.mark.parametrize(
    ("patient", "claimed", "reason"),
    [
        (1, moved(0.0, 3.0, 0.0), "its edges are not the target's"),
        (0, moved(0.0, 150.0, 0.0), "covers 27% of the target"),
        (0, moved(0.0, 0.0, 0.0, z_mm=60.0), "covers 0% of the target"),
        (0, moved(0.0, 20.0, 0.0), "more than 16 mm or 14 degrees"),
        (0, moved(-17.0, 0.0, 0.0), "more than 16 mm or 14 degrees"),
    ],
)
def test_a_guide_that_is_none_is_refused_with_the_reason(
    patient: int, claimed: ImageGeometry, reason: str
) -> None:
    match = match_guide(tissue(STACK, T1, patient=patient), claimed, tissue(TARGET, T2), TARGET)
    assert reason in match.reason
    assert match.guide is None


def test_images_without_anatomy_are_refused() -> None:
    guide, target = tissue(STACK, T1), tissue(TARGET, T2)
    assert "covers 0%" in match_guide(guide, STACK, torch.zeros_like(target), TARGET).reason
    assert "edges" in match_guide(torch.zeros_like(guide), STACK, target, TARGET).reason
    assert match_guide(torch.full_like(guide, torch.nan), STACK, target, TARGET).reason
    assert match_guide(guide, STACK, torch.full_like(target, torch.nan), TARGET).reason


def test_fields_of_view_in_other_units_are_refused_and_take_no_memory() -> None:
    small = replace(TARGET, matrix=(24, 24, 1), fov_mm=(40.0, 40.0, 5.0))
    metres = replace(STACK, fov_mm=(0.24, 0.24, 0.03), thickness_mm=None)
    micrometres = replace(TARGET, fov_mm=(230e3, 215e3, 5e3))
    assert "covers 0%" in match_guide(tissue(STACK, T1), metres, tissue(small, T2), small).reason
    assert "field of view" in match_guide(tissue(STACK, T1), STACK, tissue(TARGET, T2), micrometres).reason


def test_intensities_make_no_difference() -> None:
    guide, target = tissue(STACK, T1), tissue(TARGET, T2)
    usual = match_guide(guide, STACK, target, TARGET).alignment
    scaled = match_guide(1e-15 * guide, STACK, 1e12 * target, TARGET).alignment
    assert usual is not None
    assert scaled is not None
    assert scaled.similarity == pytest.approx(usual.similarity, rel=1e-3)


def test_real_heads_guide_their_own_undersampled_scan_and_no_other(shared_data: Path) -> None:
    """Against zero-filled images of a quarter of the lines; heads of the same size, at the same level."""

    def image(file: str, contrast: str, number: int) -> torch.Tensor:
        slices = np.load(shared_data / "images" / f"{file}.npz")[contrast]
        slices = slices[number] if len(slices) < 10 else slices[:, :, number].T[::-1]
        return torch.from_numpy(slices.astype(np.float32))[None]

    def geometry(of: torch.Tensor, voxel_mm: float) -> ImageGeometry:
        _, n_y, n_x = of.shape
        return ImageGeometry(matrix=(n_x, n_y, 1), fov_mm=(n_x * voxel_mm, n_y * voxel_mm, 5.0))

    own = image("brain_multicontrast_t1_pd_mt", "T1w", 60)
    another = image("brain_3t_b_t1_t2_flair", "T1", 1)
    target = image("brain_multicontrast_t1_pd_mt", "MTw", 60)
    kspace = fft(target.to(torch.complex64), (-2, -1))
    sampled = random_lines((128, 128), 4, n_calibration=12, seed=0)
    preview = ifft(kspace * sampled, (-2, -1))
    place = geometry(target, 1.5)
    claimed = place.moved(in_plane_motion(place, 5.0, (4.0, -6.0)))
    match = match_guide(own, claimed, preview, place)
    assert match.alignment is not None
    assert match.reason == ""
    assert match.alignment.angle_deg == pytest.approx(-5.0, abs=1.0)
    assert match_guide(another, geometry(another, 220 / 261), preview, place).reason


@pytest.mark.cuda
def test_a_guide_is_matched_on_the_gpu_as_on_the_cpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    guide, target = tissue(STACK, T1), tissue(TARGET, T2)
    here = match_guide(guide, moved(3.0, 2.0, -4.0), target, TARGET)
    there = match_guide(guide.cuda(), moved(3.0, 2.0, -4.0), target.cuda(), TARGET)
    assert here.guide is not None
    assert there.guide is not None
    assert nrmse(there.guide.cpu(), here.guide) < 1e-3
