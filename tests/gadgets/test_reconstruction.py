"""From k-space to images: each reconstruction against the object it was simulated from."""

from typing import Any

import ismrmrd
import pytest
import torch

from gadgets.accumulate import Accumulate
from gadgets.auto_reconstruction import AutoReconstruction
from gadgets.coil_compression import CoilCompression
from gadgets.coil_maps import CoilMaps
from gadgets.fourier_reconstruction import FourierReconstruction
from gadgets.gadget import Gadget
from gadgets.grappa import Grappa
from gadgets.reconstructed import METHOD
from gadgets.sense import Sense
from gadgets.spirit import Spirit
from gadgets.wavelet_sense import WaveletSense
from recon_core.coils.combine import adaptive_combine, rss, sense_combine
from recon_core.coils.low_resolution import low_resolution_maps
from recon_core.errors import CalibrationError, InputError
from recon_core.fourier import ifft
from recon_core.metrics import nrmse
from tests.gadgets.head_images import EVERY_SECOND, IRREGULAR, KSPACE, N, error, image_of, kspace_of
from tests.gadgets.small_scan import context, encoding, head_volume, readouts


@pytest.mark.parametrize("combine", ["low_resolution", "adaptive", "rss"])
def test_fourier_gives_back_a_fully_sampled_object(combine: Any) -> None:
    image = image_of(kspace_of(), FourierReconstruction(combine=combine))
    assert error(image) < 0.02
    assert image.notes == ()
    is_complex = image.image_type == ismrmrd.IMTYPE_COMPLEX
    assert image.data.is_complex() == is_complex == (combine != "rss")


def test_combinations_are_what_they_are_called() -> None:
    coil_images = ifft(KSPACE)
    maps = low_resolution_maps(KSPACE, (1, N, N))
    wanted = {
        "low_resolution": sense_combine(coil_images, maps),
        "adaptive": adaptive_combine(coil_images),
        "rss": rss(coil_images),
    }
    for combine, combined in wanted.items():
        image = image_of(kspace_of(), FourierReconstruction(combine=combine))  # type: ignore[arg-type]
        assert torch.allclose(image.data[0], combined, atol=1e-6)
    assert nrmse(wanted["adaptive"], wanted["low_resolution"]) > 1e-3


def test_fourier_without_combination_gives_every_coil() -> None:
    image = image_of(kspace_of(), FourierReconstruction(combine="none"))
    assert torch.allclose(image.data, ifft(KSPACE), atol=1e-6)


SAMPLING = {
    "full": (None, range(0)),
    "regular": (EVERY_SECOND, range(20, 44)),
    "no reference": (list(range(0, N, 2)), range(0)),
    "irregular": (IRREGULAR, range(0)),
}


@pytest.mark.parametrize("pattern", SAMPLING)
@pytest.mark.parametrize(
    "chain",
    [
        [FourierReconstruction()],
        [FourierReconstruction(combine="adaptive")],
        [Grappa()],
        [CoilMaps(), Sense()],
        [CoilMaps(backend="sigpy", threshold=0.02), Sense(backend="sigpy")],
        [CoilMaps(), WaveletSense()],
        [CoilMaps(backend="sigpy", threshold=0.02), WaveletSense(backend="sigpy")],
        [CoilCompression(n_coils=4), CoilMaps(), Sense()],
        [CoilCompression(n_coils=4, method="svd"), Grappa()],
        [Spirit()],
        [AutoReconstruction()],
    ],
    ids=lambda chain: "-".join(type(gadget).__name__ for gadget in chain),
)
def test_a_slice_without_signal_is_black_and_noted_not_an_error(chain: list[Gadget], pattern: str) -> None:
    lines, reference = SAMPLING[pattern]
    silence = kspace_of(lines, reference=reference, data=torch.zeros_like(KSPACE))
    image = image_of(silence, *chain)
    assert torch.equal(image.data, torch.zeros(1, 1, N, N, dtype=torch.complex64))
    assert "no signal: the image is black" in image.notes


def test_a_silent_slice_says_nothing_of_aliasing() -> None:
    silence = kspace_of(list(range(0, N, 2)), data=torch.zeros_like(KSPACE))
    for gadget in (FourierReconstruction(), Grappa(), Spirit(), AutoReconstruction()):
        assert image_of(silence, gadget).notes == ("no signal: the image is black",)


def test_undersampling_without_unfolding_is_noted() -> None:
    image = image_of(kspace_of(list(range(0, N, 2))), FourierReconstruction())
    assert image.notes[-1] == "undersampled 1 x 2 times (kz x ky) and zero-filled: expect aliasing"


@pytest.mark.parametrize(
    "chain",
    [
        [Grappa()],
        [Grappa(combine="adaptive")],
        [Grappa(combine="rss")],
        [CoilCompression(n_coils=6), Grappa()],
        [CoilCompression(n_coils=6, method="svd"), Grappa()],
        [CoilMaps(), Sense()],
        [CoilMaps(), WaveletSense()],
        [Spirit()],
        [Spirit(l1=0.0, kernel_width=5)],
        [AutoReconstruction()],
    ],
    ids=[
        "grappa",
        "grappa-adaptive",
        "grappa-rss",
        "gcc-grappa",
        "svd-grappa",
        "sense",
        "wavelet",
        "l1-spirit",
        "cg-spirit",
        "auto",
    ],
)
def test_every_second_line_with_reference_lines_gives_back_the_object(chain: list[Gadget]) -> None:
    scan = context(encoding((N, N, 1), acceleration=(2, 1)))
    image = image_of(kspace_of(EVERY_SECOND, scan, range(20, 44)), *chain)
    aliased = image_of(kspace_of(EVERY_SECOND, scan, range(20, 44)), FourierReconstruction())
    assert error(image) < 0.02
    assert error(aliased) > 0.09
    assert image.notes == ()


@pytest.mark.parametrize(
    ("matrix", "combine", "fourier_limit", "grappa_limit"),
    [
        ((1, 57, 63), "low_resolution", 0.001, 0.006),
        ((1, 57, 63), "adaptive", 0.002, 0.006),
        ((1, 57, 63), "rss", 1e-6, 0.006),
        ((9, 31, 33), "low_resolution", 0.015, 0.025),
        ((9, 31, 33), "adaptive", 0.025, 0.025),
        ((9, 31, 33), "rss", 1e-6, 0.006),
    ],
)
def test_odd_sizes_and_volumes_give_back_the_object(
    matrix: tuple[int, int, int], combine: Any, fourier_limit: float, grappa_limit: float
) -> None:
    n_z, n_y, n_x = matrix
    kspace, truth = head_volume(8, matrix)
    kept = [y for y in range(n_y) if y % 2 == 0 or abs(y - n_y // 2) < 12]
    for gadget, lines, rate, limit in (
        (FourierReconstruction(combine=combine), range(n_y), 1, fourier_limit),
        (Grappa(combine=combine), kept, 2, grappa_limit),
    ):
        block = readouts(kspace.numpy(), [(z, y) for z in range(n_z) for y in lines])
        (accumulated,) = Accumulate()([block], context(encoding((n_x, n_y, n_z), acceleration=(rate, 1))))
        image = image_of(accumulated, gadget)
        assert nrmse(image.data[0].abs(), truth) < limit
        assert image.notes == ()
        assert str(image.meta[METHOD]).startswith("Fourier" if rate == 1 else "GRAPPA 1 x 2")


@pytest.mark.parametrize(("lines", "rate"), [(EVERY_SECOND, 2), (list(range(N)), 1)])
def test_a_line_missing_beyond_the_pattern_costs_grappa_no_image(lines: list[int], rate: int) -> None:
    scan = context(encoding((N, N, 1), acceleration=(rate, 1)))
    image = image_of(kspace_of([y for y in lines if y != 10], scan), Grappa())
    assert error(image) < 0.03
    assert f"1 of {N // rate} lines missing" in image.notes


def test_grappa_refuses_what_it_cannot_do() -> None:
    with pytest.raises(CalibrationError, match="calibration samples"):
        image_of(kspace_of(list(range(0, N, 2))), Grappa())
    irregular = [0, 1, 4, 9, 11, 20, *range(28, 36), 50, 53]
    with pytest.raises(InputError, match="cartesian_wavelet"):
        image_of(kspace_of(irregular), Grappa())
