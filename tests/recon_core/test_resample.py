"""Resampling: nibabel on oblique grids, closed forms in patient coordinates, cropped k-space."""

import math
from dataclasses import replace

import nibabel
import numpy as np
import pytest
import torch
from nibabel.affines import apply_affine
from nibabel.processing import resample_from_to
from scipy.spatial.transform import Rotation

from recon_core.errors import InputError
from recon_core.fourier import fft, ifft, resize
from recon_core.image_geometry import ImageGeometry
from recon_core.resample import resample

VOLUME = ImageGeometry(matrix=(40, 36, 30), fov_mm=(80.0, 72.0, 75.0), centre_mm=(4.0, -3.0, 10.0))


def turned(
    geometry: ImageGeometry, degrees: tuple[float, float, float], mm: tuple[float, float, float]
) -> ImageGeometry:
    motion = torch.eye(4, dtype=torch.float64)
    motion[:3, :3] = torch.from_numpy(Rotation.from_euler("xyz", degrees, degrees=True).as_matrix())
    motion[:3, 3] = torch.tensor(mm)
    return geometry.moved(motion)


def blobs(geometry: ImageGeometry, width_mm: float = 7.0) -> torch.Tensor:
    """Gaussians fixed in the patient, at the voxels of `geometry`: complex, `(z, y, x)`."""
    n_x, n_y, n_z = geometry.matrix
    z, y, x = torch.meshgrid(*(torch.arange(n).double() for n in (n_z, n_y, n_x)), indexing="ij")
    places = torch.stack([x, y, z, torch.ones_like(x)], dim=-1) @ geometry.affine.T
    image = torch.zeros(places.shape[:-1], dtype=torch.complex128)
    for centre, value in (((4, -3, 10), 1), ((-8, 5, 2), 2j), ((14, -12, 18), -1 + 1j), ((0, 12, 14), 1.5)):
        distance = (places[..., :3] - torch.tensor(centre)).square().sum(dim=-1)
        image += value * torch.exp(-distance / (2 * width_mm**2))
    return image


def plane(**changes: object) -> ImageGeometry:
    return replace(
        ImageGeometry(matrix=(32, 28, 1), fov_mm=(64.0, 56.0, 2.0), centre_mm=(4.0, -3.0, 10.0)), **changes
    )


@pytest.mark.parametrize("degrees", [(25.0, -15.0, 40.0), (90.0, 0.0, 0.0), (3.0, 2.0, -1.0)])
def test_oblique_planes_agree_with_nibabel_wherever_they_are_covered(
    degrees: tuple[float, float, float],
) -> None:
    """Of noise from slice to slice, times a ramp in plane, which cubic and linear interpolation reproduce."""
    noise = torch.randn(30, 1, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    image = noise * (3 + torch.arange(40) / 20 - torch.arange(36)[:, None] / 30)
    target = turned(plane(matrix=(33, 29, 3), fov_mm=(64.0, 56.0, 6.0)), degrees, (1.3, -2.1, 0.7))
    resampled, covered = resample(image, VOLUME, target)
    nifti = nibabel.Nifti1Image(image.numpy().T, VOLUME.affine.numpy())
    expected = resample_from_to(nifti, (target.matrix, target.affine.numpy()), order=1, mode="nearest")
    voxels = apply_affine(
        np.linalg.inv(VOLUME.affine.numpy()) @ target.affine.numpy(), np.indices(target.matrix).T
    )
    inside = ((voxels > -0.5) & (voxels < np.array(VOLUME.matrix) - 0.5)).all(axis=-1)
    reference = torch.from_numpy(np.asarray(expected.dataobj).T.copy())
    assert covered.double().mean() > 0.5
    assert torch.equal(covered, torch.from_numpy(inside))
    in_plane = torch.from_numpy(
        ((voxels >= 1) & (voxels <= np.array(VOLUME.matrix) - 2))[..., :2].all(axis=-1)
    )
    torch.testing.assert_close(resampled[covered & in_plane], reference[covered & in_plane])


@pytest.mark.parametrize(
    ("degrees", "depth_mm", "bound"), [((0.0, 0.0, 12.0), 0.0, 0.002), ((20.0, -10.0, 5.0), 0.9, 0.04)]
)
def test_what_lies_in_the_patient_stays_there(
    degrees: tuple[float, float, float], depth_mm: float, bound: float
) -> None:
    """Complex blobs on a finer grid: cubic in the planes of slices, linear through slices 2.5 mm apart."""
    target = plane(matrix=(45, 37, 2), fov_mm=(54.0, 44.4, 5.0))
    target = turned(target, degrees, (1.1, -0.7, depth_mm))
    target = target if depth_mm else replace(target, centre_mm=(*target.centre_mm[:2], 10.0))
    resampled, covered = resample(blobs(VOLUME), VOLUME, target)
    assert covered.all()
    assert (resampled - blobs(target)).abs().max() < bound * blobs(target).abs().max()


def test_a_thick_slice_shows_the_mean_over_its_thickness() -> None:
    """Of a Gaussian across the slices: the integral is an error function."""
    depth = ImageGeometry(matrix=(4, 4, 41), fov_mm=(8.0, 8.0, 41.0))
    z_mm = torch.arange(41).double() - 20
    image = torch.exp(-z_mm.square() / 32)[:, None, None].expand(41, 4, 4)
    for centre_mm, thickness_mm in ((0.0, 10.0), (2.5, 7.0)):
        target = ImageGeometry(matrix=(4, 4, 1), fov_mm=(8.0, 8.0, thickness_mm), centre_mm=(0, 0, centre_mm))
        resampled, _ = resample(image, depth, target)
        ends = [math.erf((centre_mm + side * thickness_mm / 2) / math.sqrt(32)) for side in (-1, 1)]
        expected = math.sqrt(8 * math.pi) * (ends[1] - ends[0]) / thickness_mm
        assert float(resampled[0, 2, 2]) == pytest.approx(expected, rel=0.01)


def test_a_thin_slice_between_two_of_a_stack_is_their_weighted_mean() -> None:
    stack = ImageGeometry(matrix=(4, 4, 2), fov_mm=(8.0, 8.0, 15.0), thickness_mm=5.0)
    image = torch.stack([torch.zeros(4, 4), torch.ones(4, 4)])
    target = ImageGeometry(matrix=(4, 4, 1), fov_mm=(8.0, 8.0, 5.0), centre_mm=(0.0, 0.0, -1.5))
    resampled, covered = resample(image, stack, target)
    assert covered.all()
    torch.testing.assert_close(resampled, torch.full((1, 4, 4), 0.8))


@pytest.mark.parametrize("n", [24, 25])
def test_larger_voxels_show_the_centre_of_kspace(n: int) -> None:
    """Half the matrix over the same field of view, of an image with all frequencies."""
    image = torch.randn(2, 1, n, 2 * n, dtype=torch.complex128, generator=torch.Generator().manual_seed(1))
    fine = ImageGeometry(matrix=(2 * n, n, 1), fov_mm=(96.0, 48.0, 5.0))
    coarse = replace(fine, matrix=(n, n, 1))
    resampled, covered = resample(image, fine, coarse)
    assert covered.all()
    torch.testing.assert_close(resampled, ifft(resize(fft(image, (-1,)), (n,)), (-1,)) / math.sqrt(2))


def test_a_real_image_on_its_own_grid_is_itself() -> None:
    image = torch.rand(3, *VOLUME.matrix[::-1], generator=torch.Generator().manual_seed(2))
    resampled, covered = resample(image, VOLUME, VOLUME)
    assert covered.all()
    torch.testing.assert_close(resampled, image, atol=1e-4, rtol=0)
    integers, _ = resample((100 * image).to(torch.int16), VOLUME, VOLUME)
    torch.testing.assert_close(integers, (100 * image).to(torch.int16).float(), atol=1e-2, rtol=0)


@pytest.mark.parametrize(
    ("spacing_mm", "z_mm", "is_covered"),
    [
        (5, 4.9, False),
        (5, 2.4, True),
        (5, -4.9, True),
        (5, -7.6, False),
        (9, -4.5, True),
        (12, -6.0, False),
        (12, -2.0, True),
    ],
)
def test_slices_are_covered_in_and_between_those_of_a_stack_not_far_from_them(
    spacing_mm: float, z_mm: float, is_covered: bool
) -> None:
    """Two slices of 5 mm thickness, at 0 and one spacing below."""
    stack = ImageGeometry(matrix=(8, 8, 2), fov_mm=(16.0, 16.0, 2 * spacing_mm), thickness_mm=5.0)
    target = ImageGeometry(matrix=(8, 8, 1), fov_mm=(16.0, 16.0, 1.0), centre_mm=(0.0, 0.0, z_mm))
    resampled, covered = resample(torch.ones(2, 8, 8), stack, target)
    assert bool(covered.all()) == bool(covered.any()) == is_covered
    assert bool(resampled.any()) == is_covered


def test_beside_the_field_of_view_nothing_is_shown() -> None:
    target = plane(matrix=(50, 28, 1), fov_mm=(100.0, 56.0, 2.0))
    resampled, covered = resample(torch.ones(VOLUME.matrix[::-1]), VOLUME, target)
    assert covered[0, 0].tolist() == [False] * 5 + [True] * 40 + [False] * 5
    assert not resampled[~covered].any()
    far, none = resample(torch.ones(VOLUME.matrix[::-1]), VOLUME, plane(centre_mm=(500.0, 0.0, 0.0)))
    assert not none.any()
    assert not far.any()


def test_an_image_of_another_matrix_is_refused() -> None:
    with pytest.raises(InputError, match=r"geometry's \(30, 36, 40\)"):
        resample(torch.ones(30, 36, 41), VOLUME, plane())
