"""NIfTI output: a point of the patient lies where the MRD header says, computed here voxel by voxel."""

import logging
from pathlib import Path
from typing import Any

import ismrmrd
import nibabel
import numpy as np
import pytest

from pipelines.outputs import write_all

READ = np.array([0.8, 0.6, 0.0])
PHASE = np.array([-0.48, 0.64, 0.6])
SLICE = np.array([0.36, -0.48, 0.8])
CENTRE = np.array([12.0, -7.0, 30.0])
RAS = np.array([-1, -1, 1])


def image(array: np.ndarray[Any, Any], position: Any = CENTRE, **header: Any) -> ismrmrd.Image:
    made = ismrmrd.Image.from_array(array, **header)
    made.read_dir[:], made.phase_dir[:], made.slice_dir[:] = READ, PHASE, SLICE
    made.position[:] = position
    made.field_of_view[:] = (80.0, 42.0, 6.0)
    return made


def written(directory: Path, images: list[ismrmrd.Image]) -> list[Any]:
    return [nibabel.load(path) for path in write_all(images, directory, "scan", b"", ["nifti"])]


def lps_of(nifti: Any, voxel: tuple[int, ...]) -> np.ndarray[Any, Any]:
    return RAS * (nifti.affine @ [*voxel[:3], 1])[:3]


@pytest.mark.parametrize("shape", [(1, 6, 8), (4, 6, 8), (5, 7, 9)])
def test_a_marked_voxel_lies_where_the_fourier_transform_put_it(
    tmp_path: Path, shape: tuple[int, int, int]
) -> None:
    """The centred FFT shows the point `position + offset` at index n // 2 + offset / voxel size."""
    mark_xyz = np.array([5, 1, shape[0] - 1])
    array = np.zeros((1, *shape), np.float32)
    array[0, mark_xyz[2], mark_xyz[1], mark_xyz[0]] = 1
    (nifti,) = written(tmp_path, [image(array)])
    n_xyz = np.array(shape[::-1])
    offset_mm = (mark_xyz - n_xyz // 2) * np.array([80.0, 42.0, 6.0]) / n_xyz
    expected = CENTRE + offset_mm[0] * READ + offset_mm[1] * PHASE + offset_mm[2] * SLICE
    (voxel,) = np.argwhere(nifti.get_fdata() == 1)
    assert np.allclose(lps_of(nifti, voxel), expected, atol=1e-4)
    assert nifti.header.get_xyzt_units() == ("mm", "sec")
    assert np.allclose(nifti.get_qform(), nifti.affine, atol=1e-4)
    assert int(nifti.header["sform_code"]) == int(nifti.header["qform_code"]) == 1


def test_an_axis_aligned_scan_has_the_axis_codes_of_its_directions(tmp_path: Path) -> None:
    straight = image(np.ones((1, 1, 6, 8), np.float32))
    straight.read_dir[:], straight.phase_dir[:], straight.slice_dir[:] = (1, 0, 0), (0, 1, 0), (0, 0, 1)
    (nifti,) = written(tmp_path, [straight])
    assert nibabel.aff2axcodes(nifti.affine) == ("L", "P", "S")


def test_slices_are_stacked_by_place_with_their_true_distance(tmp_path: Path) -> None:
    """Interleaved and numbered against the slice direction: order and distance come from the positions."""
    places = {4: 0.0, 1: 7.5, 3: 15.0, 0: 22.5}
    images = [
        image(np.full((1, 1, 6, 8), number + 1, np.float32), CENTRE + mm * SLICE, slice=number)
        for number, mm in sorted(places.items())
    ]
    (nifti,) = written(tmp_path, images)
    assert nifti.shape == (8, 6, 4)
    for z, (number, mm) in enumerate(sorted(places.items(), key=lambda place: place[1])):
        assert (np.asarray(nifti.dataobj)[:, :, z] == number + 1).all()
        assert np.allclose(lps_of(nifti, (4, 3, z)), CENTRE + mm * SLICE, atol=1e-4)


def test_repetitions_and_contrasts_run_along_time(tmp_path: Path) -> None:
    images = [
        image(np.full((6, 8), 100 * r + 10 * c + s, np.int16), CENTRE + 5.0 * s * SLICE, **counters)
        for s in range(3)
        for r in range(2)
        for c in range(2)
        for counters in [{"slice": s, "repetition": r, "contrast": c}]
    ]
    (nifti,) = written(tmp_path, images)
    assert nifti.shape == (8, 6, 3, 4)
    values = np.asarray(nifti.dataobj)[0, 0]
    assert np.array_equal(values, np.arange(3)[:, None] + [0, 10, 100, 110])
    assert nifti.get_data_dtype() == np.int16


def test_alike_images_follow_one_another_and_channels_are_kept(tmp_path: Path) -> None:
    array = np.stack([np.full((1, 6, 8), c, np.complex64) for c in (1, 2j)])
    (nifti,) = written(tmp_path, [image(array), image(10 * array)])
    assert nifti.get_data_dtype() == np.complex64
    assert np.array_equal(np.asarray(nifti.dataobj)[0, 0, 0], [1, 10, 2j, 20j])


def test_series_and_orientations_become_files_of_their_own(tmp_path: Path) -> None:
    turned = image(np.ones((6, 8), np.float32), image_series_index=2)
    turned.read_dir[:], turned.slice_dir[:] = SLICE, -READ
    images = [image(np.ones((6, 8), np.float32), image_series_index=i) for i in (0, 2)]
    paths = write_all([*images, turned], tmp_path, "scan", b"", ["nifti"])
    assert sorted(p.name for p in paths) == ["scan_0.nii.gz", "scan_2_0.nii.gz", "scan_2_1.nii.gz"]


def test_unevenly_spaced_slices_are_not_forced_into_one_volume(tmp_path: Path) -> None:
    images = [
        image(np.ones((6, 8), np.float32), CENTRE + mm * SLICE, slice=i) for i, mm in enumerate((0, 5, 20))
    ]
    niftis = written(tmp_path, images)
    assert [n.shape for n in niftis] == [(8, 6, 1)] * 3
    assert np.allclose(lps_of(niftis[2], (4, 3, 0)), CENTRE + 20 * SLICE, atol=1e-4)


def test_slices_without_positions_are_stacked_by_number_and_it_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    images = [image(np.full((6, 8), s, np.float32), slice=s) for s in (2, 0, 1)]
    for one in images:
        one.read_dir[:] = one.phase_dir[:] = one.slice_dir[:] = (0, 0, 0)
    with caplog.at_level(logging.WARNING):
        (nifti,) = written(tmp_path, images)
    assert np.array_equal(np.asarray(nifti.dataobj)[0, 0], [0, 1, 2])
    assert np.allclose(nibabel.affines.voxel_sizes(nifti.affine), [10, 7, 6])
    assert "same position" in caplog.text
