"""The DICOM series of a scan: which images belong together, and what they and their objects are called."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from io import BytesIO

import ismrmrd
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import ExplicitVRLittleEndian

from gadgets.image_geometry import geometry_of_image
from pipelines.mrd_header import header_from_xml
from pipelines.outputs.dicom_header import first_series_number, frame_of_reference_uid, study_uid
from pipelines.outputs.dicom_meta import ImageMeta
from pipelines.outputs.dicom_object import described, place, set_pixels
from pipelines.outputs.dicom_pixels import Array, PixelScale, Window, default_window
from pipelines.outputs.dicom_uid import uid_of
from pipelines.outputs.writer import attributes, pixels
from recon_core.errors import InputError

_PARTS = {
    ismrmrd.IMTYPE_MAGNITUDE: "M",
    ismrmrd.IMTYPE_PHASE: "P",
    ismrmrd.IMTYPE_REAL: "R",
    ismrmrd.IMTYPE_IMAG: "I",
}
_RGB = 6
_SERIES_STEP = 1000
"""Between the numbers of series that share MRD's number: a complex image's magnitude and phase, channels."""


@dataclass
class _Series:
    uid: str
    number: int
    scale: PixelScale = field(default_factory=PixelScale)
    window: Window | None = None
    n_instances: int = 0


class DicomScan:
    """The DICOM objects of one scan's images, given as they come: Classic MR Image Storage, one a slice.

    A series is what shares MRD's series number, part (magnitude, phase, …), channel and matrix. Complex
    images become two series, magnitude and phase. Study and frame of reference are the header's; the UID of a
    series is made of the header and its first image, with all that this says of how it was made; that of an
    instance of every byte of it. So the same scan reconstructed again the same way gives the same objects,
    and another reconstruction of it gives another series.

    Raises StreamError for a header that cannot be read.
    """

    def __init__(self, header_xml: bytes) -> None:
        self._header_xml = header_xml
        self._header = header_from_xml(header_xml) if header_xml else None
        self._uids: dict[str, str] = {}
        self._series: dict[tuple[object, ...], _Series] = {}

    def objects(self, image: ismrmrd.Image) -> Iterator[Dataset]:
        """The objects of an image, each ready to be written or sent. Raises InputError for a coloured one."""
        if image.image_type == _RGB:
            raise InputError("DICOM: expected grey images, got an RGB image; write it as mrd")
        identity = sha256(bytes(image.getHead()) + attributes(image) + pixels(image).tobytes()).hexdigest()
        if not self._uids:
            scan_id = uid_of(self._header_xml, identity)
            self._uids["StudyInstanceUID"] = study_uid(self._header, scan_id)
            self._uids["FrameOfReferenceUID"] = frame_of_reference_uid(self._header, scan_id)
        meta = ImageMeta(image)
        geometry = geometry_of_image(image)
        for channel, volume in enumerate(pixels(image)):
            for part, values in _parts(volume, image.image_type):
                series = self._series_of(image, part, channel, identity)
                stored = series.scale.stored(values, *meta.rescale, is_signed=part != "M")
                series.window = series.window or meta.window or default_window(stored)
                common = described(self._header, image, meta, part)
                for keyword, uid in self._uids.items():
                    setattr(common, keyword, uid)
                common.SeriesInstanceUID, common.SeriesNumber = series.uid, series.number
                for z in range(len(values)):
                    series.n_instances += 1
                    ds = Dataset(common)
                    ds.InstanceNumber = max(image.image_index - 1, 0) * len(values) + z + 1
                    place(ds, geometry, z)
                    set_pixels(ds, stored, z, series.window, meta, part)
                    yield _identified(ds, series.n_instances)

    def _series_of(self, image: ismrmrd.Image, part: str, channel: int, identity: str) -> _Series:
        key = (image.image_series_index, part, channel, image.data.shape)
        if key not in self._series:
            n_alike = sum(other[0] == image.image_series_index for other in self._series)
            number = first_series_number(self._header) + image.image_series_index + _SERIES_STEP * n_alike
            self._series[key] = _Series(uid_of("series", self._header_xml, repr(key), identity), number)
        return self._series[key]


def _parts(volume: Array, image_type: int) -> list[tuple[str, Array]]:
    if np.iscomplexobj(volume):
        return [("M", np.abs(volume)), ("P", np.angle(volume))]
    return [(_PARTS.get(image_type, "M"), volume)]


def _identified(ds: Dataset, place_in_series: int) -> Dataset:
    """An instance is what it says: its UID is made of its bytes, and of its place among equal ones."""
    encoded = BytesIO()
    dcmwrite(encoded, ds, implicit_vr=False, little_endian=True)
    ds.SOPInstanceUID = uid_of("instance", place_in_series, encoded.getvalue())
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    return ds
