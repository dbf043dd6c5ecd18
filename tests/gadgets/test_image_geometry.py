"""Geometry from MRD's headers: the same of a series and of the image it leaves as."""

import ismrmrd
import numpy as np
import pytest
import torch

from gadgets.encoding import Encoding
from gadgets.image_geometry import geometry_of_image, geometry_of_series
from gadgets.mrd_images import to_mrd
from gadgets.records import HEADER_DTYPE, ImageSeries
from recon_core.image_geometry import ImageGeometry


def series(*directions: tuple[float, float, float], fov_mm: tuple[float, float, float]) -> ImageSeries:
    header = np.zeros(1, HEADER_DTYPE)
    header["position"] = (10, -20, 30)
    for name, direction in zip(("read_dir", "phase_dir", "slice_dir"), directions, strict=True):
        header[name] = direction
    return ImageSeries(
        data=torch.ones(1, 2, 6, 8),
        header=header[0],
        encoding=Encoding(
            encoded_matrix=(16, 6, 2),
            encoded_fov_mm=fov_mm,
            recon_matrix=(8, 6, 2),
            recon_fov_mm=fov_mm,
            limits={},
        ),
    )


def test_a_series_and_its_image_lie_at_the_place_the_header_gives() -> None:
    """With directions that are no unit vectors, as some converters write them."""
    of_series = series((0, 2, 0), (0, 0, 0.5), (-1, 0, 0), fov_mm=(80, 42, 6))
    expected = ImageGeometry(
        matrix=(8, 6, 2),
        fov_mm=(80.0, 42.0, 6.0),
        centre_mm=(10.0, -20.0, 30.0),
        directions=((0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (-1.0, 0.0, 0.0)),
    )
    (image,) = to_mrd(of_series, {})
    assert geometry_of_series(of_series) == geometry_of_image(image) == expected


def test_an_image_that_was_turned_lies_as_its_meta_says() -> None:
    """MRD keeps the readout's direction in the header then, and gives the rows' as ImageRowDir."""
    of_series = series((1, 0, 0), (0, 1, 0), (0, 0, 1), fov_mm=(80, 42, 6))
    (image,) = to_mrd(of_series, {})
    turned = ismrmrd.Meta(image.meta)
    turned["ImageRowDir"], turned["ImageColumnDir"] = ["0", "1", "0"], ["-1", "0", "0"]
    image.meta = turned
    assert geometry_of_image(image).directions == ((0, 1, 0), (-1, 0, 0), (0, 0, 1))
    turned["ImageRowDir"], turned["ImageColumnDir"] = ["0", "up", "0"], "sideways"
    image.meta = turned
    assert geometry_of_image(image).directions == ((1, 0, 0), (0, 1, 0), (0, 0, 1))


@pytest.mark.parametrize("direction", [(0, 0, 0), (0, 1, 0)])
def test_a_header_without_geometry_gives_millimetres_along_the_patient(direction: tuple[int, ...]) -> None:
    image = ismrmrd.Image.from_array(np.ones((1, 1, 6, 8), np.float32))
    image.position[:] = (0, 0, 0)
    image.field_of_view[:] = (0, 0, 0)
    for given in (image.read_dir, image.phase_dir, image.slice_dir):
        given[:] = direction
    assert geometry_of_image(image) == ImageGeometry(matrix=(8, 6, 1), fov_mm=(8.0, 6.0, 1.0))
