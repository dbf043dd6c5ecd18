"""Images on the wire: geometry, counters, types and attributes survive it."""

from dataclasses import replace

import ismrmrd
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gadgets.accumulate import Accumulate
from gadgets.crop_field_of_view import CropFieldOfView
from gadgets.fourier_reconstruction import FourierReconstruction
from gadgets.mrd_images import NOTE, from_mrd, image_index, to_mrd
from gadgets.records import ImageSeries
from gadgets.remove_oversampling import RemoveOversampling
from tests.gadgets.small_scan import context, encoding, random_complex, readouts, with_header

SCAN = encoding((16, 6, 4), recon=(8, 6, 4), limits={"slice": (0, 2, 0), "repetition": (0, 4, 0)})
GEOMETRY = {
    "position": [1.5, -2.5, 30.0],
    "read_dir": [0.0, 1.0, 0.0],
    "phase_dir": [0.0, 0.0, -1.0],
    "slice_dir": [-1.0, 0.0, 0.0],
    "patient_table_position": [4.0, 5.0, 6.0],
    "acquisition_time_stamp": 123456,
    "physiology_time_stamp": [7, 8, 9],
    "user_int": list(range(8)),
    "user_float": [0.5] * 8,
    "measurement_uid": 99,
}


def reconstruction() -> ImageSeries:
    block = with_header(readouts(random_complex((2, 4, 6, 16)), slice=1, repetition=3), **GEOMETRY)
    scan = context(SCAN)
    chain = FourierReconstruction()(RemoveOversampling()(Accumulate()([block], scan), scan), scan)
    (series,) = CropFieldOfView()(chain, scan)
    return replace(series, series_index=2, series_name="head T1")


def over_the_wire(image: ismrmrd.Image) -> ismrmrd.Image:
    return ismrmrd.Image.from_bytes(image.to_bytes())


def test_geometry_and_counters_come_from_the_readouts() -> None:
    series = reconstruction()
    (image,) = to_mrd(series, {})
    head = over_the_wire(image).getHead()
    for name, value in GEOMETRY.items():
        got = getattr(head, name)
        assert (list(got) if isinstance(value, list) else got) == value, name
    assert list(head.matrix_size) == [8, 6, 4]
    assert list(head.field_of_view) == [8, 6, 4]
    assert (head.slice, head.repetition, head.contrast) == (1, 3, 0)
    assert head.image_series_index == 2
    assert head.image_index == 1 + 1 + 3 * 3
    assert np.array_equal(over_the_wire(image).data, series.data.numpy())


def test_image_numbers_are_all_different() -> None:
    series = reconstruction()
    numbers = []
    for repetition in range(5):
        for place in range(3):
            header = series.header.copy()
            header["idx"]["slice"], header["idx"]["repetition"] = place, repetition
            numbers.append(image_index(replace(series, header=header)))
    assert numbers == list(range(1, 16))


@pytest.mark.parametrize(
    ("dtype", "on_the_wire"),
    [
        (torch.complex64, np.complex64),
        (torch.complex128, np.complex64),
        (torch.float32, np.float32),
        (torch.float64, np.float32),
        (torch.uint16, np.uint16),
        (torch.int16, np.int16),
    ],
)
def test_pixel_types(dtype: torch.dtype, on_the_wire: type) -> None:
    data = reconstruction().data
    series = replace(reconstruction(), data=data.to(dtype) if dtype.is_complex else data.abs().to(dtype))
    (image,) = to_mrd(series, {})
    assert over_the_wire(image).data.dtype == on_the_wire


def test_meta_carries_names_provenance_and_notes() -> None:
    series = replace(reconstruction(), notes=("first", "second", "first"), meta={"WindowCenter": "5"})
    (image,) = to_mrd(series, {"Recipe": "cartesian_fft", "Version": "1"})
    meta = over_the_wire(image).meta
    assert meta["DataRole"] == "Image"
    assert meta["SeriesDescription"] == meta["SequenceDescriptionAdditional"] == "head T1"
    assert meta["Reconstream.Recipe"] == "cartesian_fft"
    assert meta[NOTE] == ["first", "second"]
    assert meta["ImageComments"] == "first; second"
    assert meta["WindowCenter"] == "5"
    assert meta["ImageRowDir"] == ["0", "1", "0"]


def test_series_survive_the_round_trip() -> None:
    series = replace(reconstruction(), notes=("a note",), image_type=ismrmrd.IMTYPE_COMPLEX)
    (image,) = to_mrd(series, {})
    back = from_mrd(over_the_wire(image))
    assert torch.equal(back.data, series.data)
    assert back.header["idx"]["repetition"] == 3
    assert list(back.header["position"]) == GEOMETRY["position"]
    assert back.encoding.recon_fov_mm == (8, 6, 4)
    assert (back.series_index, back.series_name, back.notes) == (2, "head T1", ("a note",))
    (again,) = to_mrd(back, {})
    assert again.meta["ImageComments"] == "a note"
    assert again.getHead().position[:] == image.getHead().position[:]


@settings(max_examples=50)
@given(st.text(), st.text(min_size=1))
def test_any_text_can_be_read_back(value: str, key: str) -> None:
    series = replace(reconstruction_once(), meta={f"k{key}": value}, notes=(value,))
    (image,) = to_mrd(series, {"Any": value})
    assert over_the_wire(image).meta["DataRole"] == "Image"


_ONCE: list[ImageSeries] = []


def reconstruction_once() -> ImageSeries:
    if not _ONCE:
        _ONCE.append(reconstruction())
    return _ONCE[0]
