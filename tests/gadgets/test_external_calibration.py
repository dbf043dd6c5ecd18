"""Calibration that one scan leaves to another: taken where it fits, as good as reference lines of its own."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from gadgets.accumulate import Accumulate
from gadgets.external_calibration import MISSING_NOTE, TAKEN_NOTE
from gadgets.gadget import Context
from gadgets.grappa import Grappa
from gadgets.records import KSpace, Readouts
from gadgets.study import StudyStore
from recon_core.fourier import resize
from recon_core.metrics import nrmse
from tests.gadgets.small_scan import (
    encoding,
    flagged,
    head_kspace,
    head_volume,
    identified_context,
    joined,
    random_complex,
    readouts,
    with_header,
)

EXTERNAL = "<calibrationMode>external</calibrationMode></parallelImaging>"
COILS = tuple("abcdefgh")
N = 64
EVERY_THIRD = [(0, ky) for ky in range(N) if ky % 3 == 0]


def of_scan(
    study: StudyStore,
    name: str,
    matrix: tuple[int, int, int] = (N, N, 1),
    fov: float = 1.0,
    coils: Sequence[str] = COILS,
    **identity: str,
) -> Context:
    """A scan named `name`, whose calibration is external unless it is "calibration"."""
    text = encoding(matrix, acceleration=(3, 1)).replace(f"<x>{float(N)}</x>", f"<x>{fov * N}</x>")
    if name != "calibration":
        text = text.replace("</parallelImaging>", EXTERNAL)
    return identified_context(text, name, study, coils=coils, **identity)


def calibrated(study: StudyStore, block: Readouts, **scan: Any) -> None:
    list(Accumulate(keep_calibration=True)([block], of_scan(study, "calibration", **scan)))


def accelerated(study: StudyStore, block: Readouts, **scan: Any) -> KSpace:
    (kspace,) = Accumulate()([block], of_scan(study, "accelerated", **scan))
    return kspace


@pytest.fixture(scope="module")
def head() -> tuple[Any, torch.Tensor]:
    kspace, truth = head_kspace(len(COILS), (N, N))
    return kspace.numpy(), truth


def test_external_calibration_unfolds_as_reference_lines_of_the_scan_do(
    head: tuple[Any, torch.Tensor],
) -> None:
    """With the whitening of the scan that uses it, of which the calibration scan knows nothing."""
    kspace, truth = head
    study, whitening = StudyStore(), torch.from_numpy(random_complex((8, 8), 3)) + 4 * torch.eye(8)
    calibrated(study, readouts(kspace))
    found = accelerated(study, replace(readouts(kspace, EVERY_THIRD), coil_matrix=whitening))
    assert found.notes == (TAKEN_NOTE,)
    assert found.calibration is not None
    centre = resize(torch.from_numpy(kspace), (1, 48, 64))
    expected = torch.einsum("vc,czyx->vzyx", whitening, centre)
    assert torch.allclose(found.calibration, expected, rtol=1e-4, atol=1e-5)
    lines = [(0, ky) for ky in range(N // 2 - 24, N // 2 + 24)]
    own = joined(
        flagged(readouts(kspace, lines, last=()), slice(None), "IS_PARALLEL_CALIBRATION"),
        readouts(kspace, EVERY_THIRD),
    )
    (with_own,) = Accumulate()([replace(own, coil_matrix=whitening)], of_scan(StudyStore(), "calibration"))
    images = [next(iter(Grappa()([k], of_scan(study, "accelerated")))).data for k in (found, with_own)]
    assert torch.allclose(*images, rtol=1e-3, atol=1e-4 * float(images[1].abs().max()))
    scale = float((images[0].abs() * truth).sum() / images[0].abs().square().sum())
    assert nrmse(scale * images[0][0].abs(), truth) < 0.1


@pytest.mark.parametrize(
    ("differing", "moved"),
    [
        ({"frame": "1.3.13"}, {}),
        ({"uid": "1.2.841"}, {}),
        ({"coils": COILS[::-1]}, {}),
        ({"fov": 1.1}, {}),
        ({}, {"position": (0, 5, 0)}),
        ({}, {"position": (0, 0, 5)}),
        ({}, {"read_dir": (0.96, 0.28, 0), "phase_dir": (-0.28, 0.96, 0)}),
    ],
    ids=["frame", "study", "coils", "fov", "shifted", "another slice", "turned"],
)
def test_calibration_of_anything_else_is_not_taken(
    head: tuple[Any, torch.Tensor], differing: dict[str, Any], moved: dict[str, Any]
) -> None:
    study = StudyStore()
    calibrated(study, readouts(head[0]))
    block = with_header(readouts(head[0], EVERY_THIRD), **moved)
    found = accelerated(study, block, **differing)
    assert found.calibration is None
    assert MISSING_NOTE in found.notes


def test_a_slice_is_calibrated_by_the_nearest_of_the_newest_scan() -> None:
    study = StudyStore()
    for name, value in (("calibration", 1.0), ("calibration 2", 10.0)):
        for number in range(3):
            block = readouts(np.full((8, 1, N, N), value + number, np.complex64), slice=number)
            scan = of_scan(study, name)
            list(Accumulate(keep_calibration=True)([with_header(block, position=(0, 0, number))], scan))
    block = with_header(readouts(np.ones((8, 1, N, N)), EVERY_THIRD), position=(0, 0, 1.3))
    found = accelerated(study, block)
    assert found.calibration is not None
    assert found.calibration.real.unique().tolist() == [11.0]


def test_a_volume_is_calibrated_by_one_of_the_same_slab() -> None:
    kspace, _ = head_volume(4, (8, 32, 32))
    study, scan = StudyStore(), {"matrix": (32, 32, 8), "coils": COILS[:4]}
    calibrated(study, readouts(kspace.numpy()), **scan)
    every_other = [(kz, ky) for kz in range(8) for ky in range(0, 32, 2)]
    found = accelerated(study, readouts(kspace.numpy(), every_other), **scan)
    assert found.calibration is not None
    assert torch.equal(found.calibration, kspace)
    moved = with_header(readouts(kspace.numpy(), every_other), position=(0, 0, 3))
    assert accelerated(study, moved, **scan).calibration is None
