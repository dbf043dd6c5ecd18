"""One Classic MR Image (DICOM PS3.3, A.4): what it shows, how it was made, where it lies, its pixels."""

from importlib.metadata import version
from typing import Any

import ismrmrd
import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import MRImageStorage
from pydicom.valuerep import DSfloat

from pipelines.outputs.dicom_header import attributes_of, code, series_description, text, timing_of
from pipelines.outputs.dicom_meta import ImageMeta
from pipelines.outputs.dicom_pixels import StoredPixels, Window
from recon_core.image_geometry import ImageGeometry

_MAX_DESCRIPTION = 64
_MAX_COMMENTS = 10240
_MAX_SHORT_TEXT = 1024
_PROCESSING_EQUIPMENT = ("109102", "DCM", "Processing Equipment")


def described(header: Any, image: ismrmrd.Image, meta: ImageMeta, part: str) -> Dataset:
    """All but identity, place and pixels."""
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID, ds.Modality = MRImageStorage, "MR"
    timing = timing_of(header, image.contrast, meta.number("InversionTime"))
    for keyword, value in (*attributes_of(header), *timing):
        setattr(ds, keyword, _decimal(value) if isinstance(value, float) else value)
    if (echo_time_ms := meta.number("EchoTime")) is not None:
        ds.EchoTime = _decimal(echo_time_ms)
    ds.PositionReferenceIndicator = ""
    ds.SeriesDescription = _series_description(header, image, meta, part)
    ds.TemporalPositionIdentifier = image.repetition + 1
    kind = f"{meta.quantity} MAP" if meta.quantity else part
    ds.ImageType = ["DERIVED", "PRIMARY", code(kind), *filter(None, map(code, meta.texts("ImageType")))]
    if comments := text("; ".join(meta.texts("ImageComments")), _MAX_COMMENTS):
        ds.ImageComments = comments
    ds.DerivationDescription = text(meta.method, _MAX_SHORT_TEXT)
    ds.LossyImageCompression = "00"
    ds.ContributingEquipmentSequence = [_equipment(meta)]
    return ds


def place(ds: Dataset, geometry: ImageGeometry, z: int) -> None:
    """Slice `z`: DICOM names the centre of its first pixel, MRD that of the voxel in the middle."""
    first_pixel = (geometry.affine.numpy() @ [0, 0, z, 1])[:3]
    row, column = (np.array(direction) for direction in geometry.directions[:2])
    column = column - (column @ row) * row  # single precision leaves them askew by 1e-7
    column /= np.linalg.norm(column)
    width, height, distance = geometry.voxel_mm
    ds.ImagePositionPatient = [_decimal(mm) for mm in first_pixel]
    ds.ImageOrientationPatient = [_decimal(cosine) for cosine in (*row, *column)]
    ds.PixelSpacing = [_decimal(height), _decimal(width)]
    ds.SliceThickness = _decimal(geometry.slice_mm)
    ds.SliceLocation = _decimal(np.cross(row, column) @ first_pixel)
    ds.MRAcquisitionType = "3D" if geometry.matrix[2] > 1 else "2D"
    if geometry.matrix[2] > 1:
        ds.SpacingBetweenSlices = _decimal(distance)


def set_pixels(ds: Dataset, stored: StoredPixels, z: int, window: Window, meta: ImageMeta, part: str) -> None:
    """Pixels of slice `z`, the way back to values, how bright to show them, and what phases and maps mean."""
    plane = stored.pixels[z]
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.Rows, ds.Columns = plane.shape
    ds.BitsAllocated = ds.BitsStored = 16
    ds.HighBit = 15
    ds.PixelRepresentation = int(plane.dtype.kind == "i")
    ds.PixelData = plane.astype(plane.dtype.newbyteorder("<")).tobytes()
    ds.RescaleSlope, ds.RescaleIntercept = _decimal(stored.slope), _decimal(stored.intercept)
    ds.RescaleType = "US"
    ds.WindowCenter, ds.WindowWidth = _decimal(window.center), _decimal(window.width)
    # LINEAR takes half a unit off at either end, and allows no width below one: right for integers only.
    ds.VOILUTFunction = "LINEAR_EXACT"
    if meta.quantity:
        ds.RealWorldValueMappingSequence = [_real_world(stored, meta.quantity, meta.unit or "1")]
    elif part == "P":
        ds.RealWorldValueMappingSequence = [_real_world(stored, "phase", "rad")]


def _series_description(header: Any, image: ismrmrd.Image, meta: ImageMeta, part: str) -> str:
    """The scanner's name and ours. Of a long one the end is kept, which says whether it is a fallback."""
    is_second = part == "P" and image.data.dtype.kind == "c"
    words = [series_description(header), *["phase"] * is_second, "_".join(meta.texts("SeriesDescription"))]
    return text(" ".join(filter(None, words))[-_MAX_DESCRIPTION:])


def _equipment(meta: ImageMeta) -> Dataset:
    item = Dataset()
    item.PurposeOfReferenceCodeSequence = [_coded(*_PROCESSING_EQUIPMENT)]
    item.Manufacturer = item.ManufacturerModelName = "Reconstream"
    item.SoftwareVersions = text(meta.version or version("reconstream"))
    item.ContributionDescription = text(meta.made_by, _MAX_SHORT_TEXT)
    return item


def _real_world(stored: StoredPixels, quantity: str, unit: str) -> Dataset:
    info = np.iinfo(stored.pixels.dtype)
    item = Dataset()
    for end, pixel in (("First", info.min), ("Last", info.max)):
        item.add_new(f"RealWorldValue{end}ValueMapped", "SS" if info.min < 0 else "US", int(pixel))
    item.RealWorldValueSlope, item.RealWorldValueIntercept = stored.slope, stored.intercept
    item.LUTLabel = text(quantity, 16)
    item.LUTExplanation = text(f"{quantity} in {unit}")
    item.MeasurementUnitsCodeSequence = [_coded(text(unit, 16), "UCUM", text(unit))]
    return item


def _coded(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def _decimal(number: float) -> DSfloat:
    return DSfloat(float(number), auto_format=True)
