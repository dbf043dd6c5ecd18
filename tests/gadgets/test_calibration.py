"""Where calibration data come from, and how long what was made of them is kept."""

from dataclasses import replace
from itertools import count

import pytest
import torch

from gadgets.calibration import PerSlice, calibration_of
from gadgets.encoding import Limit
from gadgets.grappa import Grappa
from gadgets.records import KSpace
from recon_core.metrics import nrmse
from tests.gadgets.head_images import ENCODING, EVERY_SECOND, N, image_of, kspace_of
from tests.gadgets.small_scan import context, encoding


def test_calibration_can_come_from_the_centre_of_the_data() -> None:
    scan = context(encoding((N, N, 1), acceleration=(2, 1)))
    flagged_lines = image_of(kspace_of(EVERY_SECOND, scan, range(20, 44)), Grappa())
    unflagged = image_of(kspace_of(EVERY_SECOND, scan), Grappa())
    assert nrmse(unflagged.data, flagged_lines.data) < 0.01


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
