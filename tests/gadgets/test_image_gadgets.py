"""Gadgets that take images: field of view, part shown, scaling, window, names, attributes."""

from dataclasses import replace
from typing import Any

import ismrmrd
import numpy as np
import pytest
import torch

from gadgets.add_meta import AddMeta
from gadgets.crop_field_of_view import CropFieldOfView
from gadgets.encoding import Encoding
from gadgets.gadget import Gadget
from gadgets.image_type import ImageType
from gadgets.name_series import NameSeries
from gadgets.quantitative import quantitative_meta
from gadgets.records import HEADER_DTYPE, ImageSeries
from gadgets.scale_intensity import ScaleIntensity
from gadgets.window import Window
from recon_core.errors import InputError
from recon_core.fourier import fft, ifft, resize
from recon_core.phantom import head_phantom
from tests.gadgets.small_scan import context, encoding, random_complex


def series(data: torch.Tensor, image_type: int = ismrmrd.IMTYPE_COMPLEX) -> ImageSeries:
    """An image (z, y, x) of 1 mm pixels."""
    n_z, n_y, n_x = data.shape
    matrix = (n_x, n_y, n_z)
    fov_mm = (float(n_x), float(n_y), float(n_z))
    return ImageSeries(
        data=data[None],
        header=np.zeros(1, HEADER_DTYPE)[0],
        encoding=Encoding(
            encoded_matrix=matrix, encoded_fov_mm=fov_mm, recon_matrix=matrix, recon_fov_mm=fov_mm, limits={}
        ),
        image_type=image_type,
    )


IMAGE = torch.from_numpy(random_complex((1, 6, 8)))
MAGNITUDE = series(IMAGE.abs(), ismrmrd.IMTYPE_MAGNITUDE)


def result(gadget: Gadget, *items: ImageSeries, scan: str = encoding((8, 6, 1))) -> Any:
    results = list(gadget(items, context(scan)))
    return results[0] if len(items) == 1 else results


def test_field_of_view_is_cropped_about_the_centre() -> None:
    volume = torch.arange(4 * 6 * 8.0).reshape(4, 6, 8)
    cropped = result(CropFieldOfView(), series(volume), scan=encoding((8, 6, 4), recon=(5, 4, 2)))
    assert torch.equal(cropped.data[0], volume[1:3, 1:5, 2:7])
    assert cropped.encoding.recon_fov_mm == (5, 4, 2)
    assert cropped.encoding.recon_matrix == (5, 4, 2)


def test_a_larger_matrix_interpolates_and_keeps_intensities() -> None:
    coarse = ifft(resize(fft(head_phantom((96, 96))[None].to(torch.complex64)), (1, 48, 48))) / 2
    scan = encoding((48, 48, 1), recon=(96, 96, 1)).replace("96.0", "48.0")
    fine = result(CropFieldOfView(), series(coarse), scan=scan)
    assert fine.data.shape == (1, 1, 96, 96)
    assert fine.encoding.recon_fov_mm == (48, 48, 1)
    assert torch.allclose(fine.data[0, :, ::2, ::2], coarse, atol=1e-5)


def test_real_images_stay_real_when_interpolated() -> None:
    scan = encoding((8, 6, 1), recon=(16, 12, 1)).replace("16.0", "8.0").replace("12.0", "6.0")
    fine = result(CropFieldOfView(), MAGNITUDE, scan=scan)
    assert fine.data.shape == (1, 1, 12, 16)
    assert fine.data.dtype == torch.float32
    assert fine.data.min() >= 0


def test_signed_and_integer_images_keep_their_values_when_interpolated() -> None:
    scan = encoding((8, 6, 1), recon=(16, 12, 1)).replace("16.0", "8.0").replace("12.0", "6.0")
    signed = result(CropFieldOfView(), series(IMAGE.real, ismrmrd.IMTYPE_REAL), scan=scan)
    assert torch.allclose(signed.data[0, :, ::2, ::2], IMAGE.real, atol=1e-5)
    counts = (100 * IMAGE.abs()).to(torch.uint16)
    fine = result(CropFieldOfView(), series(counts, ismrmrd.IMTYPE_MAGNITUDE), scan=scan)
    assert torch.allclose(fine.data[0, :, ::2, ::2], counts.float(), atol=1e-3)


@pytest.mark.parametrize(
    ("part", "wanted", "image_type"),
    [
        ("magnitude", IMAGE.abs(), ismrmrd.IMTYPE_MAGNITUDE),
        ("phase", IMAGE.angle(), ismrmrd.IMTYPE_PHASE),
        ("real", IMAGE.real, ismrmrd.IMTYPE_REAL),
        ("imaginary", IMAGE.imag, ismrmrd.IMTYPE_IMAG),
        ("complex", IMAGE, ismrmrd.IMTYPE_COMPLEX),
    ],
)
def test_parts_of_complex_images(part: Any, wanted: torch.Tensor, image_type: int) -> None:
    shown = result(ImageType(part=part), series(IMAGE))
    assert torch.equal(shown.data[0], wanted)
    assert shown.image_type == image_type


def test_a_magnitude_has_no_phase_to_show() -> None:
    assert result(ImageType(), MAGNITUDE) is MAGNITUDE
    with pytest.raises(InputError, match="take the phase of, got real"):
        result(ImageType(part="phase"), MAGNITUDE)


def test_scale_is_fixed_by_the_first_image() -> None:
    first, second = result(
        ScaleIntensity(percentile=100), MAGNITUDE, replace(MAGNITUDE, data=MAGNITUDE.data / 2)
    )
    assert first.data.dtype == torch.uint16
    assert int(first.data.int().max()) == 2048
    assert int(second.data.int().max()) == 1024


@pytest.mark.parametrize("number", ["uint16", "int16", "float32"])
@pytest.mark.parametrize("part", ["magnitude", "phase", "real"])
def test_scaling_can_be_undone_from_the_meta(number: Any, part: Any) -> None:
    shown = result(ImageType(part=part), series(IMAGE))
    scaled = result(ScaleIntensity(number=number, percentile=100), shown)
    slope, intercept = (float(scaled.meta[key]) for key in ("RescaleSlope", "RescaleIntercept"))
    restored = scaled.data.to(torch.float32) * slope + intercept
    assert torch.allclose(restored, shown.data, atol=0.51 * slope)


def test_a_constant_factor_and_clipping() -> None:
    scaled = result(ScaleIntensity(factor=1e6), MAGNITUDE)
    assert scaled.data.int().max() == 65535
    assert scaled.meta["RescaleSlope"] == "1e-06"


def test_an_empty_image_scales_to_itself() -> None:
    scaled = result(ScaleIntensity(), replace(MAGNITUDE, data=torch.zeros(1, 1, 6, 8)))
    assert not scaled.data.int().any()


@pytest.mark.parametrize("gadget", [ScaleIntensity(), Window()], ids=["scale", "window"])
def test_complex_images_are_refused_where_numbers_are_wanted(gadget: Gadget) -> None:
    with pytest.raises(InputError, match="put ImageType in front"):
        result(gadget, series(IMAGE))


def test_window_from_percentiles_or_as_given() -> None:
    ramp = series(torch.arange(1.0, 201).reshape(1, 10, 20), ismrmrd.IMTYPE_MAGNITUDE)
    window = result(Window(lower_percentile=1, upper_percentile=99), ramp)
    assert (window.meta["WindowCenter"], window.meta["WindowWidth"]) == ("100", "196")
    given = result(Window(center=40, width=80), ramp)
    assert (given.meta["WindowCenter"], given.meta["WindowWidth"]) == ("40", "80")
    assert torch.equal(given.data, ramp.data)


def test_a_window_counts_in_values_though_pixels_are_scaled() -> None:
    """MRD's definition of WindowCenter: applied to rescaled values."""
    ramp = series(torch.arange(1.0, 201).reshape(1, 10, 20), ismrmrd.IMTYPE_MAGNITUDE)
    plain = result(Window(), ramp).meta
    scaled = result(Window(), result(ScaleIntensity(factor=8.0), ramp)).meta
    for name in ("WindowCenter", "WindowWidth"):
        assert float(str(scaled[name])) == pytest.approx(float(str(plain[name])))


def test_names_and_attributes() -> None:
    named = result(NameSeries(index=7, name="T1 head"), MAGNITUDE)
    assert (named.series_index, named.series_name) == (7, "T1 head")
    marked = result(
        AddMeta(attributes={"Site": "here"}), replace(MAGNITUDE, meta={"Site": "there", "Kept": "1"})
    )
    assert marked.meta == {"Site": "here", "Kept": "1"}


@pytest.mark.parametrize("gadget", [ScaleIntensity(), ImageType(part="phase")], ids=["scaled", "phase"])
def test_a_quantitative_map_keeps_its_values(gadget: Gadget) -> None:
    t1_map = replace(MAGNITUDE, meta=quantitative_meta("T1", "ms"))
    assert result(gadget, t1_map) is t1_map
    in_several_roles = replace(MAGNITUDE, meta={"DataRole": ["Image", "Quantitative"]})
    assert result(gadget, in_several_roles) is in_several_roles
