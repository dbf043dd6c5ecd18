"""From k-space to images: each reconstruction against the object it was simulated from."""

from dataclasses import replace
from itertools import count
from typing import Any

import ismrmrd
import numpy as np
import pytest
import torch

from gadgets.accumulate import Accumulate
from gadgets.auto_reconstruction import AutoReconstruction
from gadgets.calibration import PerSlice, calibration_of
from gadgets.coil_compression import CoilCompression
from gadgets.coil_maps import CoilMaps
from gadgets.encoding import Limit
from gadgets.fourier_reconstruction import FourierReconstruction
from gadgets.gadget import Context, Gadget
from gadgets.grappa import Grappa
from gadgets.partial_fourier import PartialFourier
from gadgets.reconstructed import METHOD
from gadgets.records import ImageSeries, KSpace
from gadgets.remove_oversampling import RemoveOversampling
from gadgets.sense import Sense
from gadgets.spirit import Spirit
from gadgets.wavelet_sense import WaveletSense
from recon_core.coils.combine import adaptive_combine, rss, sense_combine
from recon_core.coils.low_resolution import low_resolution_maps
from recon_core.errors import CalibrationError, InputError
from recon_core.fourier import fft, ifft, resize
from recon_core.masks import random_lines
from recon_core.metrics import nrmse
from tests.gadgets.small_scan import (
    context,
    encoding,
    flagged,
    head_kspace,
    head_volume,
    random_complex,
    readouts,
    with_header,
)

N = 64
KSPACE, TRUTH = head_kspace(8, (N, N))
ENCODING = encoding((N, N, 1))
EVERY_SECOND = sorted({*range(0, N, 2), *range(20, 44)})
IRREGULAR = random_lines((N, 1), 2.5, n_calibration=14)[:, 0].nonzero().flatten().tolist()


def kspace_of(
    lines: list[int] | None = None,
    scan: Context | None = None,
    reference: range = range(0),
    data: torch.Tensor = KSPACE,
) -> KSpace:
    """The lines accumulated; those in `reference` flagged as calibration and imaging."""
    block = readouts(data.numpy(), None if lines is None else [(0, y) for y in lines])
    y = block.headers["idx"]["kspace_encode_step_1"]
    block = flagged(block, np.isin(y, list(reference)), "IS_PARALLEL_CALIBRATION_AND_IMAGING")
    (kspace,) = Accumulate()([block], scan or context(ENCODING))
    return kspace


def image_of(kspace: KSpace, *gadgets: Gadget) -> ImageSeries:
    items: Any = [kspace]
    for gadget in gadgets:
        items = list(gadget(items, context(ENCODING)))
    (image,) = items
    assert isinstance(image, ImageSeries)
    return image


def error(image: ImageSeries) -> float:
    assert len(image.data) == 1
    return nrmse(image.data[0].abs(), TRUTH)


# Readout oversampling


def test_oversampling_is_removed_from_data_calibration_and_encoding() -> None:
    wide = fft(resize(ifft(KSPACE), (1, N, 2 * N)))
    scan = context(encoding((2 * N, N, 1), recon=(N, N, 1)))
    block = flagged(readouts(wide.numpy()), slice(20, 44), "IS_PARALLEL_CALIBRATION_AND_IMAGING")
    (kspace,) = RemoveOversampling()(Accumulate()([block], scan), scan)
    assert kspace.encoding.encoded_matrix == (N, N, 1)
    assert kspace.encoding.encoded_fov_mm == (N, N, 1)
    assert torch.allclose(kspace.data, KSPACE, atol=1e-4)
    assert kspace.calibration is not None
    assert torch.allclose(kspace.calibration, KSPACE[:, :, 20:44], atol=1e-4)


def test_without_oversampling_nothing_happens() -> None:
    kspace = kspace_of()
    assert list(RemoveOversampling()([kspace], context(ENCODING))) == [kspace]


def test_an_asymmetric_echo_stays_unsampled_when_oversampling_is_removed() -> None:
    block = with_header(readouts(random_complex((2, 1, 8, 52))), center_sample=20)
    scan = context(encoding((64, 8, 1), recon=(32, 8, 1)))
    (kspace,) = RemoveOversampling()(Accumulate()([block], scan), scan)
    assert kspace.sampled[0, 0].nonzero().flatten().tolist() == list(range(6, 32))
    assert not kspace.data[..., :6].any()


# Reconstructions


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


@pytest.mark.parametrize(("n_lines", "expected"), [(5, 0.1), (7, 0.05), (9, 0.05)])
def test_few_calibration_lines_get_small_kernels_and_a_note(n_lines: int, expected: float) -> None:
    reference = range(N // 2 - n_lines // 2, N // 2 - n_lines // 2 + n_lines)
    kspace = kspace_of(sorted({*range(0, N, 2), *reference}), reference=reference)
    small = image_of(kspace, CoilMaps(), Sense())
    assert small.notes[-1].startswith(f"coil maps calibrated from only {n_lines} lines, with kernels of ")
    assert error(small) < expected
    if n_lines >= 7:  # fewer are refused
        assert error(small) < error(image_of(kspace, CoilMaps(kernel_width=6), Sense())) / 2


def test_enough_calibration_lines_get_kernels_of_six_and_no_note() -> None:
    kspace = kspace_of(sorted({*range(0, N, 2), *range(27, 38)}), reference=range(27, 38))
    six = image_of(kspace, CoilMaps(kernel_width=6), Sense())
    assert torch.equal(image_of(kspace, CoilMaps(), Sense()).data, six.data)
    assert image_of(kspace, CoilMaps(), Sense()).notes == ()


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


def test_calibration_can_come_from_the_centre_of_the_data() -> None:
    scan = context(encoding((N, N, 1), acceleration=(2, 1)))
    flagged_lines = image_of(kspace_of(EVERY_SECOND, scan, range(20, 44)), Grappa())
    unflagged = image_of(kspace_of(EVERY_SECOND, scan), Grappa())
    assert nrmse(unflagged.data, flagged_lines.data) < 0.01


def test_two_sets_of_maps_give_two_channels() -> None:
    image = image_of(kspace_of(EVERY_SECOND), CoilMaps(n_maps=2, crop=0.0), Sense(n_iterations=5))
    assert image.data.shape == (2, 1, N, N)


def test_sigpy_backends_agree() -> None:
    kspace = kspace_of(EVERY_SECOND)
    ours = image_of(kspace, CoilMaps(threshold=0.02), Sense(n_iterations=10))
    theirs = image_of(
        kspace, CoilMaps(threshold=0.02, backend="sigpy"), Sense(n_iterations=10, backend="sigpy")
    )
    assert nrmse(ours.data.abs(), theirs.data.abs()) < 0.03


def test_calibration_is_computed_once_for_repetitions_that_share_it(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr("gadgets.grappa.grappa_weights", lambda *a, **k: calls.append(1) or _weights(*a, **k))
    from recon_core.grappa import grappa_weights as _weights

    kspace = kspace_of(EVERY_SECOND, reference=range(20, 44))
    assert kspace.calibration is not None
    other = replace(kspace, calibration=kspace.calibration * 2)
    images = list(Grappa()([kspace, kspace, other, other, kspace], context(ENCODING)))
    assert len(calls) == 3
    assert torch.equal(images[0].data, images[4].data)


def of_contrast(contrast: int, scale: float) -> KSpace:
    """A k-space of its own contrast, its reference lines `scale` times as bright."""
    kspace = kspace_of(EVERY_SECOND, reference=range(20, 44))
    assert kspace.calibration is not None
    header = kspace.header.copy()
    header["idx"]["contrast"] = contrast
    limits = {**kspace.encoding.limits, "contrast": Limit(0, 2, 0)}
    return replace(
        kspace,
        header=header,
        calibration=scale * kspace.calibration,
        encoding=replace(kspace.encoding, limits=limits),
    )


def n_computed(known: PerSlice[int], images: list[KSpace]) -> int:
    computed = count()
    for kspace in images:
        known.get(kspace, calibration_of(kspace), lambda: next(computed))
    return next(computed)


def test_interleaved_contrasts_with_reference_lines_of_their_own_keep_their_results() -> None:
    assert n_computed(PerSlice(), 3 * [of_contrast(0, 1.0), of_contrast(1, 2.0)]) == 2


def test_contrasts_that_share_reference_lines_share_their_result() -> None:
    assert n_computed(PerSlice(), [of_contrast(contrast, 1.0) for contrast in range(3)]) == 1


def test_the_oldest_of_many_results_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gadgets.calibration.N_KEPT", 2)
    known: PerSlice[int] = PerSlice()
    first, second, third = (of_contrast(n, 1.0 + n) for n in range(3))
    assert n_computed(known, [first, second, third]) == 3
    assert n_computed(known, [second, third]) == 0
    assert n_computed(known, [first]) == 1


def test_slices_that_do_not_come_again_are_not_kept() -> None:
    def of_slice(number: int) -> KSpace:
        once = of_contrast(0, 1.0 + number)
        once.header["idx"]["slice"] = number
        return replace(once, encoding=replace(once.encoding, limits={}))

    assert n_computed(PerSlice(), [of_slice(0), of_slice(0), of_slice(1), of_slice(0)]) == 3


# The automatic choice


@pytest.mark.parametrize(
    ("lines", "method", "limit"),
    [
        (list(range(N)), "Fourier", 0.002),
        (EVERY_SECOND, "GRAPPA 1 x 2", 0.005),
        (IRREGULAR, "wavelet SENSE", 0.06),
    ],
    ids=["full", "regular", "irregular"],
)
def test_auto_chooses_by_the_sampling(lines: list[int], method: str, limit: float) -> None:
    image = image_of(kspace_of(lines), AutoReconstruction())
    assert str(image.meta[METHOD]).startswith(method)
    assert error(image) < limit


def test_auto_without_calibration_is_zero_filled_and_says_so() -> None:
    image = image_of(kspace_of(list(range(0, N, 2))), AutoReconstruction())
    assert image.meta[METHOD] == "Fourier"
    assert "undersampled 1 x 2" in image.notes[-1]
    assert "calibration" in image.notes[-1]


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


# Partial Fourier


@pytest.mark.parametrize("method", ["pocs", "homodyne"])
def test_partial_fourier_along_the_phase_encoding_is_completed(method: Any) -> None:
    lines = list(range(24, N))
    filled = image_of(kspace_of(lines), FourierReconstruction(), PartialFourier(method=method))
    zero_filled = image_of(kspace_of(lines), FourierReconstruction(), PartialFourier(method="zero_fill"))
    assert error(filled) < 0.6 * error(zero_filled)
    assert filled.meta["Reconstream.PartialFourier"] == f"{method} along ky"
    assert "Reconstream.PartialFourier" not in zero_filled.meta


def test_an_asymmetric_echo_is_completed() -> None:
    block = with_header(readouts(KSPACE[..., 20:].numpy()), center_sample=N // 2 - 20)
    (kspace,) = Accumulate()([block], context(ENCODING))
    filled = image_of(kspace, FourierReconstruction(), PartialFourier())
    assert error(filled) < 0.6 * error(image_of(kspace, FourierReconstruction()))
    assert filled.meta["Reconstream.PartialFourier"] == "pocs along kx"


def test_partial_fourier_leaves_symmetric_and_real_images_alone() -> None:
    for series in (
        image_of(kspace_of(), FourierReconstruction()),
        image_of(kspace_of(list(range(6, N - 7))), FourierReconstruction()),
        image_of(kspace_of(list(range(24, N))), FourierReconstruction(combine="rss")),
    ):
        assert image_of(series, PartialFourier()) is series  # type: ignore[arg-type]


# Compression


@pytest.mark.parametrize(("method", "limit"), [("svd", 0.015), ("geometric", 0.0005)])
def test_compression_keeps_the_image(method: Any, limit: float) -> None:
    kspace = kspace_of()
    (compressed,) = CoilCompression(n_coils=5, method=method)([kspace], context(ENCODING))
    assert len(compressed.data) == 5
    assert error(image_of(compressed, FourierReconstruction(combine="rss"))) < limit
    assert list(CoilCompression(n_coils=8)([kspace], context(ENCODING))) == [kspace]
