"""Coil maps of few lines, of several sets, by either backend."""

from dataclasses import replace

import pytest
import torch

from gadgets.coil_maps import CoilMaps
from gadgets.sense import Sense
from gadgets.wavelet_sense import WaveletSense
from recon_core.metrics import nrmse
from tests.gadgets.head_images import EVERY_SECOND, N, error, image_of, kspace_of
from tests.gadgets.small_scan import context


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


def test_images_of_two_sets_of_maps_become_one() -> None:
    (two,) = CoilMaps(crop=0.0)([kspace_of(EVERY_SECOND)], context())
    assert len(two.coil_maps) == 2
    for gadget in (Sense(n_iterations=5), WaveletSense(n_iterations=5)):
        (image,) = gadget([two], context())
        assert image.data.shape == (1, 1, N, N)
        (of_first,) = gadget([replace(two, coil_maps=two.coil_maps[:1])], context())
        assert not torch.equal(image.data, of_first.data)


def test_a_second_set_of_maps_that_nothing_needs_is_left_out() -> None:
    (calibrated,) = CoilMaps()([kspace_of(EVERY_SECOND)], context())
    assert len(calibrated.coil_maps) == 1


def test_sigpy_backends_agree() -> None:
    kspace = kspace_of(EVERY_SECOND)
    ours = image_of(kspace, CoilMaps(threshold=0.02), Sense(n_iterations=10))
    theirs = image_of(
        kspace, CoilMaps(threshold=0.02, backend="sigpy"), Sense(n_iterations=10, backend="sigpy")
    )
    assert nrmse(ours.data.abs(), theirs.data.abs()) < 0.03
