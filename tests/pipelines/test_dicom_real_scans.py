"""Real scans as DICOM: valid, kept by an archive, and every voxel where our NIfTI puts it."""

from pathlib import Path

import nibabel
import pydicom
import pytest

from pipelines import reconstruct
from pipelines.outputs import write_all
from pipelines.sources import open_scan
from tests.pipelines.dicom_tools import assert_same_voxels, dciodvfy_errors, niftis_by_dcm2niix

HALF_A_STEP = 1.001 * 2 / 65535
"""Of the first image's peak: what 16 bits, with their headroom, leave of it."""


@pytest.mark.parametrize(
    ("name", "n_slices"),
    [
        ("siemens_phantom_14ch_grappa3_noise", 1),
        ("brain_lowfield_a_fse_1ch", 4),
        ("brain_8ch_230x180", 1),
        ("knee_1ch_332x640", 1),
    ],
)
def test_a_real_scan_is_valid_and_lies_where_its_nifti_does(
    shared_data: Path, tmp_path: Path, name: str, n_slices: int
) -> None:
    path = shared_data / "raw" / f"{name}.h5"
    images = reconstruct(path, "cartesian_fft")
    folder, nifti = write_all(images, tmp_path, name, open_scan(path).header_xml, ["dicom", "nifti"])
    files = sorted(folder.iterdir())
    assert len(files) == n_slices
    assert [error for file in files for error in dciodvfy_errors(file)] == []
    (theirs,) = niftis_by_dcm2niix(folder, tmp_path / "converted")
    assert_same_voxels(nibabel.load(nifti), theirs, HALF_A_STEP)


def test_a_siemens_scan_brings_its_frame_of_reference_and_protocol(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "raw" / "siemens_phantom_14ch_grappa3_noise.h5"
    images = reconstruct(path, "cartesian_fft")
    (folder,) = write_all(images, tmp_path, "scan", open_scan(path).header_xml, ["dicom"])
    ds = pydicom.dcmread(folder / "0001.dcm")
    assert ds.FrameOfReferenceUID == "1.3.12.2.1107.5.2.19.45387.1.20190310222831082.0.0.0"
    assert (ds.ProtocolName, ds.PatientPosition, ds.StudyDate) == ("SNR_R3", "HFS", "20190314")
    assert (ds.Manufacturer, ds.ScanningSequence) == ("SIEMENS", "GR")
