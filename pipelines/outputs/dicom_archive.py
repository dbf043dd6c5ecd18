"""Where a server keeps the images of recipes with DicomOut: a folder, from which they go to an archive."""

import logging
import queue
import threading
from collections.abc import Mapping
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING

from gadgets.mrd_images import to_mrd
from gadgets.records import ImageSeries
from pipelines.dicom_node import Node, store
from pipelines.outputs.dicom import dicom_scan
from recon_core.errors import InputError, ReconstreamError

if TYPE_CHECKING:
    from pipelines.outputs.dicom_series import DicomScan

_LOGGER = logging.getLogger("reconstream")
_POLL_S = 0.05
_MAX_WAITING = 256
"""Scans that wait for the archive; of more, the files stay in the folder and have to be sent by hand."""


class DicomArchive:
    """Keeps scans' images as ``FOLDER/<series UID>/<instance UID>.dcm``, and sends each scan when it ends.

    A thread of its own sends, one scan after the other: an archive that is slow, or gone, holds up nobody.
    What it does not take stays in the folder, and the log says how to send it. Names are made of UIDs of our
    own making: nothing that a client sent becomes part of a path. Raises InputError where the folder cannot
    be made or pydicom is missing.
    """

    def __init__(self, folder: Path, node: Node | None = None) -> None:
        dicom_scan(b"")  # raises now, not when the first scan comes
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"{folder}: expected a folder for DICOM files, got: {error.strerror}; choose another"
            ) from error
        self.folder = folder
        self._node = node
        self._waiting: queue.Queue[list[Path]] = queue.Queue(_MAX_WAITING)
        if node is not None:
            threading.Thread(target=self._send_all, args=(node,), name="dicom-sender", daemon=True).start()

    def scan(self, header_xml: bytes, provenance: Mapping[str, str]) -> "ArchivedScan":
        """Takes the images of one scan."""
        return ArchivedScan(self, header_xml, provenance)

    def send(self, files: list[Path]) -> None:
        """Have the files sent, if there is anywhere to send them to."""
        if self._node is None or not files:
            return
        try:
            self._waiting.put_nowait(files)
        except queue.Full:
            self._report(files, "too many scans wait to be sent")

    def close(self, timeout_s: float) -> None:
        """Wait for what is being sent, for a while; the log then says what was not."""
        deadline = monotonic() + timeout_s
        while self._waiting.unfinished_tasks and monotonic() < deadline:
            sleep(_POLL_S)
        if n_left := self._waiting.unfinished_tasks:
            _LOGGER.error(
                "the DICOM files of %d scans in %s are not all at %s; send them with reconstream send-dicom",
                n_left,
                self.folder,
                self._node,
            )

    def _send_all(self, node: Node) -> None:
        while True:
            files = self._waiting.get()
            try:
                store(files, node)
                _LOGGER.info("%d DICOM files stored at %s", len(files), node)
            except (ReconstreamError, OSError, ValueError, RuntimeError) as error:
                self._report(files, str(error))
            finally:
                self._waiting.task_done()

    def _report(self, files: list[Path], reason: str) -> None:
        folders = " ".join(dict.fromkeys(str(path.parent) for path in files))
        _LOGGER.error("%s; later: reconstream send-dicom %s --node %s", reason, folders, self._node)


class ArchivedScan:
    """The images of one scan on their way to the archive (`gadgets.gadget.ImageArchive`)."""

    def __init__(self, archive: DicomArchive, header_xml: bytes, provenance: Mapping[str, str]) -> None:
        self._archive, self._provenance = archive, provenance
        self._header_xml = header_xml
        self._scan: DicomScan | None = None
        self._files: list[Path] = []

    def keep(self, series: ImageSeries) -> None:
        """Write the images of a series."""
        self._scan = self._scan or dicom_scan(self._header_xml)
        for image in to_mrd(series, self._provenance):
            for ds in self._scan.objects(image):
                path = self._archive.folder / ds.SeriesInstanceUID / f"{ds.SOPInstanceUID}.dcm"
                path.parent.mkdir(mode=0o700, exist_ok=True)
                partial = path.with_name(f".{path.name}.partial")
                try:
                    ds.save_as(partial, enforce_file_format=True)
                    partial.replace(path)
                finally:
                    partial.unlink(missing_ok=True)
                self._files.append(path)

    def close(self) -> None:
        """The scan has ended, or was broken off: what there is goes to the archive."""
        self._archive.send(self._files)
