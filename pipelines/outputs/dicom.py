"""Images as DICOM files."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import ismrmrd

from pipelines.outputs.writer import ImageWriter
from recon_core.errors import InputError

if TYPE_CHECKING:
    from pipelines.outputs.dicom_series import DicomScan


def dicom_scan(header_xml: bytes) -> "DicomScan":
    """As `DicomScan`. Raises InputError where pydicom is not installed."""
    if find_spec("pydicom") is None:
        raise InputError("DICOM: expected pydicom, got none; run `pip install reconstream[dicom]`")
    from pipelines.outputs.dicom_series import DicomScan

    return DicomScan(header_xml)


class DicomWriter(ImageWriter):
    """``DIR/stem_N/0001.dcm`` …: a folder for each series N, its slices in the order in which they come.

    `close` returns the folders. Files so named that an earlier, longer run left there are removed.
    """

    def __init__(self, directory: Path, stem: str, header_xml: bytes) -> None:
        super().__init__(directory, stem, header_xml)
        self._scan = dicom_scan(self.header_xml)
        self._n_files: dict[int, int] = {}

    def write(self, image: ismrmrd.Image) -> None:
        """Write the image's slices."""
        for ds in self._scan.objects(image):
            number = int(ds.SeriesNumber)
            self._n_files[number] = self._n_files.get(number, 0) + 1
            ds.save_as(
                self._temporary(f"_{number}/{self._n_files[number]:04d}.dcm"), enforce_file_format=True
            )

    def close(self) -> list[Path]:
        """Give the files their names and return their folders; none when there was no image."""
        files = super().close()
        folders = list(dict.fromkeys(path.parent for path in files))
        for stale in {path for folder in folders for path in folder.glob("[0-9]*.dcm")} - set(files):
            stale.unlink()
        return folders
