"""Image series to and from `ismrmrd.Image`: the geometry, counters and attributes on the wire."""

import re
from collections.abc import Mapping
from typing import Any

import ismrmrd
import numpy as np
import numpy.typing as npt
import torch

from gadgets.encoding import Encoding, Limit
from gadgets.reconstructed import METHOD
from gadgets.records import HEADER_DTYPE, ImageSeries

NOTE = "Reconstream.Note"
"""Meta key of what the user must be told about an image, one value a note."""
PROVENANCE = "Reconstream."
"""Prefix of the meta keys of an image's provenance."""
FALLBACK = "Reconstream.Fallback"
"""Meta key of whether a network's image was asked for, and another was made: "true" or "false"."""

_INDEX_ORDER = ("slice", "contrast", "phase", "set", "repetition", "average")
"""Image numbers count through these, slice fastest."""

_COPIED = (
    "measurement_uid",
    "position",
    "read_dir",
    "phase_dir",
    "slice_dir",
    "patient_table_position",
    "acquisition_time_stamp",
    "physiology_time_stamp",
    "user_int",
    "user_float",
)
_COUNTERS = ("average", "slice", "contrast", "phase", "repetition", "set")

_NOT_XML = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def to_mrd(series: ImageSeries, provenance: Mapping[str, str]) -> list[ismrmrd.Image]:
    """The MRD images of a series: pixels in row-major `(channel, z, y, x)`, x the readout.

    Real images leave as float32 unless they were scaled to an integer type, complex ones as complex64.
    The position is the centre of the slice or volume, as MRD has it; the field of view is in mm. `provenance`
    (recipe name and hash, software version, ...) goes to meta attributes with the prefix `PROVENANCE`,
    the notes to `NOTE` and, for the reader's eye, to ImageComments.
    """
    image = ismrmrd.Image(
        head=_image_header(series), data=_pixels(series.data), meta=_meta(series, provenance)
    )
    return [image]


def from_mrd(image: ismrmrd.Image) -> ImageSeries:
    """The record of an image that arrived on the wire, for recipes that take images."""
    head = image.getHead()
    meta = {str(key): _texts(value) for key, value in image.meta.items()}
    notes = meta.pop(NOTE, [])
    names = meta.get("SequenceDescriptionAdditional", "")
    fov_mm = tuple(float(length) for length in head.field_of_view)
    matrix = tuple(int(length) for length in head.matrix_size)
    header = np.zeros(1, HEADER_DTYPE)
    for name in _COPIED:
        header[name][0] = getattr(head, name)
    for name in _COUNTERS:
        header["idx"][name][0] = getattr(head, name)
    return ImageSeries(
        data=torch.from_numpy(np.array(image.data)),
        header=header[0],
        encoding=Encoding(
            encoded_matrix=(matrix[0], matrix[1], matrix[2]),
            encoded_fov_mm=(fov_mm[0], fov_mm[1], fov_mm[2]),
            recon_matrix=(matrix[0], matrix[1], matrix[2]),
            recon_fov_mm=(fov_mm[0], fov_mm[1], fov_mm[2]),
            limits={},
        ),
        # Gadgetron labels complex images as magnitude; what is in them decides.
        image_type=ismrmrd.IMTYPE_COMPLEX if np.iscomplexobj(image.data) else int(head.image_type),
        series_index=int(head.image_series_index),
        series_name=names if isinstance(names, str) else " ".join(names),
        meta=meta,
        notes=(notes,) if isinstance(notes, str) else tuple(notes),
    )


def _image_header(series: ImageSeries) -> ismrmrd.ImageHeader:
    head = ismrmrd.ImageHeader()
    head.version = 1
    for name in _COPIED:
        value = series.header[name]
        setattr(head, name, tuple(value.tolist()) if value.ndim else value.item())
    for name in _COUNTERS:
        setattr(head, name, int(series.header["idx"][name]))
    head.field_of_view = series.encoding.recon_fov_mm
    head.image_type = series.image_type
    head.image_series_index = series.series_index
    head.image_index = image_index(series)
    return head


def image_index(series: ImageSeries) -> int:
    """The image's number in its series, from 1: its counters read as digits, slice the fastest."""
    index, stride = 1, 1
    for name in _INDEX_ORDER:
        counter = int(series.header["idx"][name])
        index += stride * counter
        stride *= max(series.encoding.limits.get(name, Limit(0, 0, 0)).maximum, counter) + 1
    return index % (1 << 16)


def _pixels(data: torch.Tensor) -> npt.NDArray[Any]:
    pixels = data.detach().resolve_conj().cpu().contiguous().numpy()
    if pixels.dtype.kind == "c":
        return pixels.astype(np.complex64, copy=False)
    return pixels.astype(np.float32, copy=False) if pixels.dtype.kind == "f" else pixels


def _meta(series: ImageSeries, provenance: Mapping[str, str]) -> ismrmrd.Meta:
    header = series.header
    meta: dict[str, str | list[str]] = {
        "DataRole": "Image",
        "Keep_image_geometry": "1",
        "ImageRowDir": [f"{component:.9g}" for component in header["read_dir"]],
        "ImageColumnDir": [f"{component:.9g}" for component in header["phase_dir"]],
    }
    if name := _described(series):
        meta["SeriesDescription"] = meta["SequenceDescriptionAdditional"] = name
    meta.update(series.meta)
    meta.update({f"{PROVENANCE}{key}": value for key, value in provenance.items()})
    if series.notes:
        notes = list(dict.fromkeys(series.notes))
        meta[NOTE] = notes
        said = meta.get("ImageComments", [])
        said = said if isinstance(said, str) else "; ".join(said)
        meta["ImageComments"] = "; ".join(
            [*filter(None, [said]), *(note for note in notes if note not in said)]
        )
    return ismrmrd.Meta({_clean(key): _cleaned(value) for key, value in meta.items()})


def _described(series: ImageSeries) -> str:
    """The series' name; a fallback says so here too, whatever it was named."""
    name, suffix = series.series_name, f"(fallback: {series.meta.get(METHOD)})"
    if series.meta.get(FALLBACK) != "true" or suffix in name:
        return name
    return f"{name} {suffix}".strip()


def _cleaned(value: str | list[str]) -> str | list[str]:
    return _clean(value) if isinstance(value, str) else [_clean(text) for text in value]


def _clean(text: str) -> str:
    """Without the characters XML cannot carry, which ismrmrd would write and then fail to read."""
    return _NOT_XML.sub("", text.replace("\r", "\n"))


def _texts(value: Any) -> str | list[str]:
    return [str(text or "") for text in value] if isinstance(value, list) else str(value or "")
