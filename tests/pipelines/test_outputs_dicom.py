"""DICOM output: what a validator, two readers and a calculation by hand find in the files."""

import re
from io import BytesIO
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import ismrmrd
import nibabel
import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.pixels import apply_rescale, apply_windowing

from pipelines.outputs import write_all
from pipelines.outputs.dicom_series import DicomScan
from recon_core.errors import InputError
from tests.pipelines.dicom_images import (
    CENTRE,
    FOV_MM,
    FRAME,
    HEADER,
    PHASE,
    READ,
    SLICE,
    STUDY,
    mrd_image,
    phantom,
)
from tests.pipelines.dicom_tools import assert_same_voxels, dciodvfy_errors, niftis_by_dcm2niix

T1_MAP = {"DataRole": ["Quantitative", "T1"], "Unit": "ms"}


def written(directory: Path, images: list[ismrmrd.Image], header: bytes = HEADER) -> list[pydicom.Dataset]:
    folders = write_all(images, directory, "scan", header, ["dicom"])
    return [pydicom.dcmread(path) for folder in folders for path in sorted(folder.glob("*.dcm"))]


def values_of(ds: pydicom.Dataset) -> np.ndarray[Any, Any]:
    return apply_rescale(ds.pixel_array, ds)


def lps_of(ds: pydicom.Dataset, column: float, row: float) -> np.ndarray[Any, Any]:
    """DICOM PS3.3, equation C.7.6.2.1-1."""
    along_row, along_column = np.reshape(ds.ImageOrientationPatient, (2, 3)).astype(float)
    between_rows, between_columns = ds.PixelSpacing
    return (
        np.array(ds.ImagePositionPatient, float)
        + along_row * between_columns * column
        + along_column * between_rows * row
    )


@pytest.mark.parametrize("shape", [(1, 6, 8), (4, 6, 8), (5, 7, 9)])
def test_corners_of_an_oblique_image_lie_where_the_header_puts_them(
    tmp_path: Path, shape: tuple[int, int, int]
) -> None:
    """From the centre, which is voxel n // 2, half a field of view away: by hand, corner by corner."""
    n_z, n_y, n_x = shape
    slices = written(tmp_path, [mrd_image(phantom((1, *shape)))])
    x_mm, y_mm, z_mm = (fov / n for fov, n in zip(FOV_MM, (n_x, n_y, n_z), strict=True))
    assert len(slices) == n_z
    for z, ds in enumerate(slices):
        middle = CENTRE + (z - n_z // 2) * z_mm * SLICE
        for column in (0, n_x - 1):
            for row in (0, n_y - 1):
                corner = middle + (column - n_x // 2) * x_mm * READ + (row - n_y // 2) * y_mm * PHASE
                assert np.allclose(lps_of(ds, column, row), corner, atol=1e-4)
        assert np.isclose(ds.SliceThickness, z_mm)
        assert np.isclose(ds.SliceLocation, middle @ SLICE + (lps_of(ds, 0, 0) - middle) @ SLICE, atol=1e-4)
        assert ds.MRAcquisitionType == ("3D" if n_z > 1 else "2D")


def test_dcm2niix_puts_every_voxel_where_our_nifti_does(tmp_path: Path) -> None:
    """Oblique slices, numbered against the slice direction, with gaps."""
    images = [
        mrd_image(phantom((6, 8), seed), CENTRE + mm * SLICE, slice=number, image_index=number + 1)
        for seed, (number, mm) in enumerate({3: 0.0, 1: 7.5, 2: 15.0, 0: 22.5}.items())
    ]
    folder, nifti = write_all(images, tmp_path, "scan", HEADER, ["dicom", "nifti"])
    (theirs,) = niftis_by_dcm2niix(folder, tmp_path / "converted")
    ours = nibabel.load(nifti)
    assert_same_voxels(ours, theirs, tolerance=1e-4)


def test_a_left_handed_volume_is_not_mirrored(tmp_path: Path) -> None:
    image = mrd_image(phantom((1, 4, 6, 8)))
    image.slice_dir[:] = -SLICE
    folder, nifti = write_all([image], tmp_path, "scan", HEADER, ["dicom", "nifti"])
    (theirs,) = niftis_by_dcm2niix(folder, tmp_path / "converted")
    assert_same_voxels(nibabel.load(nifti), theirs, tolerance=1e-4)


KINDS = {
    "float magnitude": mrd_image(phantom()),
    "volume": mrd_image(phantom((1, 3, 6, 8))),
    "complex": mrd_image(phantom().astype(np.complex64) * np.exp(2j), image_type=ismrmrd.IMTYPE_COMPLEX),
    "phase": mrd_image(np.full((6, 8), -1.5, np.float32), image_type=ismrmrd.IMTYPE_PHASE),
    "real": mrd_image(-phantom(), image_type=ismrmrd.IMTYPE_REAL),
    "channels": mrd_image(phantom((3, 1, 6, 8))),
    "uint16": mrd_image(phantom().astype(np.uint16)),
    "int16": mrd_image(-phantom().astype(np.int16), image_type=ismrmrd.IMTYPE_REAL),
    "T1 map": mrd_image(phantom(), meta=T1_MAP),
    "nothing but zeros": mrd_image(np.zeros((6, 8), np.float32)),
    "tagged": mrd_image(
        phantom(),
        meta={
            "SeriesDescription": ["a", "b"],
            "ImageComments": "line\nbreak \\ backslash " * 9,
            "ImageType": ["ND", "NORM"],
            "WindowCenter": "500",
            "WindowWidth": "900",
            "EchoTime": "3.25",
            "InversionTime": "120",
        },
    ),
}


@pytest.mark.parametrize("header", [HEADER, b""], ids=["full header", "no header"])
@pytest.mark.parametrize("kind", list(KINDS))
def test_dciodvfy_finds_no_error(tmp_path: Path, kind: str, header: bytes) -> None:
    folders = write_all([KINDS[kind]], tmp_path, "scan", header, ["dicom"])
    paths = [path for folder in folders for path in folder.glob("*.dcm")]
    assert paths
    assert [error for path in paths for error in dciodvfy_errors(path)] == []


ANY_TEXT = st.one_of(
    st.text(st.characters(exclude_categories=["Cc", "Cs", "Cn"]), max_size=80),
    st.text("=^\\\n\t ,-;", max_size=20),
    st.floats().map(str),
    st.sampled_from(["1e400", "-0", "1" * 70]),
)
TEXTS_OF_HEADER = re.findall(rb">([^<>\n]+)<", HEADER)
META_KEYS = (
    "SeriesDescription ImageComments ImageType Unit WindowCenter WindowWidth RescaleSlope RescaleIntercept "
    "EchoTime InversionTime ImageRowDir ImageColumnDir Reconstream.Recipe Reconstream.Reconstruction"
)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_header_or_meta_keeps_images_from_being_written(data: st.DataObject) -> None:
    """Whatever stands where text is: an object comes of it that can be read, without a warning."""
    replaced = data.draw(st.sets(st.sampled_from(TEXTS_OF_HEADER[:18]), max_size=6))
    header = HEADER
    for text in replaced:
        header = header.replace(b">%s<" % text, b">%s<" % escape(data.draw(ANY_TEXT)).encode(), 1)
    texts = st.one_of(ANY_TEXT, st.lists(ANY_TEXT, max_size=3))
    meta = data.draw(st.dictionaries(st.sampled_from(META_KEYS.split()), texts))
    role = data.draw(st.sampled_from(["Image", "Quantitative"]))
    (ds,) = DicomScan(header).objects(mrd_image(phantom(), meta={"DataRole": role, **meta}))
    file = BytesIO()
    ds.save_as(file, enforce_file_format=True)
    assert pydicom.dcmread(BytesIO(file.getvalue())).pixel_array.shape == (6, 8)


def test_patient_study_and_equipment_are_the_headers(tmp_path: Path) -> None:
    (ds,) = written(tmp_path, [mrd_image(phantom(), contrast=1, meta={"SeriesDescription": "FFT"})])
    expected = {
        "PatientName": "Müller^Änne",
        "PatientID": "P-4711",
        "PatientBirthDate": "19560309",
        "PatientSex": "F",
        "PatientWeight": 61.5,
        "StudyInstanceUID": STUDY,
        "StudyDate": "20261120",
        "StudyTime": "080910",
        "StudyID": "S-17",
        "AccessionNumber": "90210",
        "ReferringPhysicianName": "Doe^Jo",
        "StudyDescription": "head",
        "BodyPartExamined": "HEAD",
        "FrameOfReferenceUID": FRAME,
        "PatientPosition": "HFS",
        "SeriesNumber": 700,
        "SeriesTime": "083000",
        "SeriesDescription": "t1_gre FFT",
        "Manufacturer": "ACME",
        "StationName": "MR1",
        "MagneticFieldStrength": 1.5,
        "ImagingFrequency": 63.87,
        "ScanningSequence": "GR",
        "RepetitionTime": 500,
        "EchoTime": 9.25,
        "EchoNumbers": 2,
        "FlipAngle": 25,
        "EchoTrainLength": 1,
        "ImageType": ["DERIVED", "PRIMARY", "M"],
    }
    assert {keyword: ds[keyword].value for keyword in expected} == expected
    assert "InversionTime" not in ds  # DICOM forbids it without an inversion, which a Flash has not


def test_contributing_equipment_names_recipe_and_model_with_their_hashes(tmp_path: Path) -> None:
    meta = {
        "Reconstream.Version": "9.9",
        "Reconstream.Recipe": "cartesian_cascade",
        "Reconstream.RecipeHash": "ab" * 32,
        "Reconstream.Model": "multicoil_cascade",
        "Reconstream.ModelHash": "cd" * 32,
        "Reconstream.Fallback": "false",
    }
    (ds,) = written(tmp_path, [mrd_image(phantom(), meta=meta)])
    (equipment,) = ds.ContributingEquipmentSequence
    assert equipment.PurposeOfReferenceCodeSequence[0].CodeValue == "109102"
    assert equipment.SoftwareVersions == "9.9"
    for value in ("cartesian_cascade", "ab" * 32, "multicoil_cascade", "cd" * 32, "fallback false"):
        assert value in equipment.ContributionDescription


def test_a_long_series_description_still_says_that_the_image_is_a_fallback(tmp_path: Path) -> None:
    name = "x" * 70 + " (fallback: wavelet SENSE)"
    (ds,) = written(tmp_path, [mrd_image(phantom(), meta={"SeriesDescription": name})])
    assert len(ds.SeriesDescription) == 64
    assert ds.SeriesDescription.endswith("(fallback: wavelet SENSE)")


@pytest.mark.parametrize("scale", [1e-7, 1.0, 1e9])
def test_rescaled_pixels_are_the_images_values(tmp_path: Path, scale: float) -> None:
    """To half a slope, which the headroom makes 2 of 65535 of the first image's peak."""
    array = phantom() * np.float32(scale)
    (ds,) = written(tmp_path, [mrd_image(array)])
    assert np.abs(values_of(ds) - array[0, 0]).max() <= 2.001 / 65535 * array.max()


def test_a_series_keeps_its_scale_until_an_image_does_not_fit_and_then_clips_nothing(tmp_path: Path) -> None:
    arrays = [phantom(seed=number) * factor for number, factor in enumerate((1, 3, 100, 1))]
    slices = written(tmp_path, [mrd_image(a, image_index=i + 1) for i, a in enumerate(arrays)])
    slopes = [float(ds.RescaleSlope) for ds in slices]
    assert slopes[0] == slopes[1] < slopes[2] == slopes[3]
    for ds, array in zip(slices, arrays, strict=True):
        assert np.abs(values_of(ds) - array[0, 0]).max() <= float(ds.RescaleSlope) / 2 * 1.001


def test_integers_are_stored_as_they_are_with_the_way_back_that_their_meta_gives(tmp_path: Path) -> None:
    array = phantom().astype(np.uint16)
    meta = {"RescaleSlope": "0.25", "RescaleIntercept": "-3"}
    (ds,) = written(tmp_path, [mrd_image(array, meta=meta)])
    assert np.array_equal(ds.pixel_array, array[0, 0])
    assert np.allclose(values_of(ds), array[0, 0] * 0.25 - 3)


def test_a_quantitative_map_has_its_values_and_unit_in_the_real_world_mapping(tmp_path: Path) -> None:
    array = phantom()
    (ds,) = written(tmp_path, [mrd_image(array, meta=T1_MAP)])
    (mapping,) = ds.RealWorldValueMappingSequence
    unit = mapping.MeasurementUnitsCodeSequence[0]
    values = ds.pixel_array * mapping.RealWorldValueSlope + mapping.RealWorldValueIntercept
    assert np.abs(values - array[0, 0]).max() <= 2.001 / 65535 * array.max()
    assert (mapping.RealWorldValueFirstValueMapped, mapping.RealWorldValueLastValueMapped) == (0, 65535)
    assert (unit.CodeValue, unit.CodingSchemeDesignator, mapping.LUTLabel) == ("ms", "UCUM", "T1")
    assert ds.ImageType == ["DERIVED", "PRIMARY", "T1 MAP"]


def test_a_complex_image_becomes_magnitude_and_phase(tmp_path: Path) -> None:
    array = phantom() * np.exp(1j * np.linspace(-3, 3, 48).reshape(6, 8)).astype(np.complex64)
    magnitude, phase = written(tmp_path, [mrd_image(array, image_type=ismrmrd.IMTYPE_COMPLEX)])
    assert np.allclose(values_of(magnitude), np.abs(array[0, 0]), atol=0.04)
    assert np.allclose(values_of(phase), np.angle(array[0, 0]), atol=2e-4)
    assert (magnitude.ImageType[2], phase.ImageType[2]) == ("M", "P")
    assert magnitude.SeriesInstanceUID != phase.SeriesInstanceUID
    assert phase.RealWorldValueMappingSequence[0].MeasurementUnitsCodeSequence[0].CodeValue == "rad"


def test_what_is_no_number_becomes_zero(tmp_path: Path) -> None:
    array = phantom()
    array[0, 0, 0, :3] = np.nan, np.inf, -np.inf
    (ds,) = written(tmp_path, [mrd_image(array)])
    assert values_of(ds)[0, :3].tolist() == [0, 0, 0]
    assert np.isclose(values_of(ds).max(), np.nanmax(array[np.isfinite(array)]), rtol=1e-4)


def test_the_window_is_the_metas_in_values_else_the_whole_first_image(tmp_path: Path) -> None:
    array = phantom()
    (stated,) = written(tmp_path / "a", [mrd_image(array, meta={"WindowCenter": "40", "WindowWidth": "20"})])
    shown = apply_windowing(values_of(stated), stated)
    assert np.array_equal(shown == shown.max(), values_of(stated) > 50)
    assert np.array_equal(shown == shown.min(), values_of(stated) <= 30)
    (own,) = written(tmp_path / "b", [mrd_image(1e-6 * array)])
    assert np.isclose(own.WindowWidth, np.percentile(1e-6 * array, 99.5), rtol=1e-3)
    assert np.isclose(own.WindowCenter, own.WindowWidth / 2)


def uids(datasets: list[pydicom.Dataset], level: str) -> list[str]:
    return [str(ds[f"{level}InstanceUID"].value) for ds in datasets]


def test_the_same_images_again_are_the_same_objects_byte_for_byte(tmp_path: Path) -> None:
    images = [mrd_image(phantom((1, 3, 6, 8), seed), repetition=seed) for seed in range(2)]
    (first,), (second,) = (write_all(images, tmp_path / d, "s", HEADER, ["dicom"]) for d in "ab")
    files = sorted(path.name for path in first.iterdir())
    assert files == sorted(path.name for path in second.iterdir())
    assert all((first / name).read_bytes() == (second / name).read_bytes() for name in files)


def test_other_pixels_or_another_recipe_are_other_objects_of_another_series(tmp_path: Path) -> None:
    """What is under one UID must never differ: an archive keeps the first and drops the second."""
    array = phantom((2, 1, 6, 8))[:1]
    other = array.copy()
    other[0, 0, 0, 0] *= 1.001
    variants = [
        [mrd_image(array)],
        [mrd_image(other)],
        [mrd_image(array, meta={"Reconstream.RecipeHash": "ef"})],
        [mrd_image(array, meta={"WindowCenter": "5", "WindowWidth": "9"})],
    ]
    datasets = [ds for n, images in enumerate(variants) for ds in written(tmp_path / str(n), images)]
    assert len(set(uids(datasets, "SOP"))) == len(set(uids(datasets, "Series"))) == len(variants)
    assert set(uids(datasets, "Study")) == {STUDY}


def test_all_slices_of_a_scan_differ_in_their_uid_even_where_they_are_alike(tmp_path: Path) -> None:
    images = [mrd_image(np.zeros((1, 2, 6, 8), np.float32)) for _ in range(3)]
    datasets = written(tmp_path, images)
    assert len(set(uids(datasets, "SOP"))) == len(datasets) == 6
    assert len(set(uids(datasets, "Series"))) == 1


def test_scans_without_a_study_uid_share_a_study_only_where_they_share_frame_and_time(tmp_path: Path) -> None:
    """Two patients' scans may have equal headers. They must not end up as one patient's study."""
    without_study = HEADER.replace(STUDY.encode(), b"")
    nameless = without_study.replace(FRAME.encode(), b"")
    arrays = [phantom(seed=1), phantom(seed=2)]
    in_frame, apart = (
        [written(tmp_path / f"{i}{n}", [mrd_image(a)], header)[0] for n, a in enumerate(arrays)]
        for i, header in enumerate((without_study, nameless))
    )
    assert len(set(uids(in_frame, "Study"))) == 1
    assert len(set(uids(apart, "Study"))) == 2
    assert apart[0].FrameOfReferenceUID != apart[1].FrameOfReferenceUID
    assert all(len(uid) <= 64 and pydicom.uid.UID(uid).is_valid for uid in uids(in_frame + apart, "Study"))


def test_slices_are_numbered_and_filed_in_order(tmp_path: Path) -> None:
    images = [mrd_image(phantom((6, 8), s), slice=s, image_index=s + 1) for s in (2, 0, 1)]
    (folder,) = write_all(images, tmp_path, "scan", HEADER, ["dicom"])
    assert folder == tmp_path / "scan_700"
    numbers = [pydicom.dcmread(path).InstanceNumber for path in sorted(folder.iterdir())]
    assert numbers == [3, 1, 2]


def test_a_shorter_run_leaves_no_slice_of_a_longer_one_behind(tmp_path: Path) -> None:
    write_all([mrd_image(phantom((1, 3, 6, 8)))], tmp_path, "scan", HEADER, ["dicom"])
    (tmp_path / "scan_700" / "notes.txt").write_text("mine")
    (folder,) = write_all([mrd_image(phantom())], tmp_path, "scan", HEADER, ["dicom"])
    assert sorted(path.name for path in folder.iterdir()) == ["0001.dcm", "notes.txt"]


def test_colours_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="RGB"):
        written(tmp_path, [mrd_image(phantom((3, 1, 6, 8)).astype(np.uint16), image_type=6)])


def test_repetitions_carry_their_temporal_position(tmp_path: Path) -> None:
    images = [mrd_image(phantom(seed=r), repetition=r, image_index=r + 1) for r in range(4)]
    assert [ds.TemporalPositionIdentifier for ds in written(tmp_path, images)] == [1, 2, 3, 4]
