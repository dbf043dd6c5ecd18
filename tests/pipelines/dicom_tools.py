"""Programs of other people that judge our DICOM files; tests that need one skip without it."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

_PACKAGES = {"dciodvfy": "dicom3tools", "dcm2niix": "dcm2niix", "Orthanc": "orthanc"}

PYNETDICOM_LEAVES_SOCKETS = "ignore::pytest.PytestUnraisableExceptionWarning"
"""To the garbage collector, where no association came of a connection."""


def program(name: str) -> str:
    """The path of a program from Debian. Skips the test where it is not installed."""
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin")
    if path is None:
        pytest.skip(f"{name} is not installed (Debian package {_PACKAGES[name]})")
    return path


def dciodvfy_errors(path: Path) -> list[str]:
    """What the validator of the standard's modules calls an error."""
    result = subprocess.run(
        [program("dciodvfy"), "-new", str(path)], capture_output=True, text=True, check=False
    )
    report = result.stdout + result.stderr
    assert "MRImage" in report, report
    return [line for line in report.splitlines() if line.startswith("Error")]


def niftis_by_dcm2niix(folder: Path, out: Path) -> list[Any]:
    """The volumes that dcm2niix makes of a folder of DICOM files."""
    out.mkdir()
    command = [program("dcm2niix"), "-b", "n", "-o", str(out), "-f", "%s_%p", str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout
    return [nibabel.load(path) for path in sorted(out.glob("*.nii"))]


def assert_same_voxels(ours: Any, theirs: Any, tolerance: float) -> None:
    """Every voxel of ours has one of theirs at its place, of the same value."""
    volume = np.atleast_3d(ours.get_fdata())
    indices = np.argwhere(np.ones(volume.shape, bool))
    found = nibabel.affines.apply_affine(np.linalg.inv(theirs.affine) @ ours.affine, indices)
    assert np.allclose(found, np.rint(found), atol=1e-3)
    x, y, z = np.rint(found).astype(int).T
    values = np.atleast_3d(theirs.get_fdata())[x, y, z].reshape(volume.shape)
    assert np.abs(values - volume).max() <= tolerance * np.abs(volume).max()
