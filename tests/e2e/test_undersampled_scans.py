"""Real scans with lines left out, against their own full sampling and against BART on the same lines."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from pipelines import reconstruct
from pipelines.sources import open_scan
from tests.e2e import peers
from tests.e2e.case_files import Array, Comparison, UndersampledCase, cases, comparisons, nrmse_scaled
from tests.e2e.journalling_server import JournallingServer
from tests.e2e.peers import PEERS, RunBart, Samples
from tests.e2e.undersampling import Undersampling

CASES = cases("undersampled", UndersampledCase)

SamplesOf = Callable[[str], Samples]
ImageOf = Callable[[str], Array]


@pytest.fixture(scope="module")
def samples_of(shared_data: Path) -> SamplesOf:
    """All samples of a scan, read independently."""
    return cache(lambda scan: peers.read_samples(shared_data / "raw" / scan))


@pytest.fixture(scope="module")
def full_sampling(shared_data: Path) -> ImageOf:
    """`(y, x)`: the image of all lines, by `cartesian_fft`."""

    @cache
    def full_sampling(scan: str) -> Array:
        (image,) = reconstruct(shared_data / "raw" / scan, "cartesian_fft")
        return np.asarray(image.data[0, 0])

    return full_sampling


def nrmse(image: Array, reference: Array) -> float:
    """Of all pixels at their own intensity: fewer lines must not change it."""
    return float(np.linalg.norm(image - reference) / np.linalg.norm(reference))


@pytest.mark.parametrize(("name", "comparison"), comparisons(CASES))
def test_fewer_lines_give_the_same_image(
    name: str,
    comparison: Comparison,
    shared_data: Path,
    server: JournallingServer,
    samples_of: SamplesOf,
    full_sampling: ImageOf,
    request: pytest.FixtureRequest,
) -> None:
    case = CASES[name]
    every_line = samples_of(case.scan)
    kept = Undersampling.of(case, every_line.kspace.shape[-2], comparison.calibration_mode)
    scan = kept.scan(open_scan(shared_data / "raw" / case.scan))
    (image,) = server.send(scan, comparison.recipe, comparison.settings).images
    pixels = np.linalg.norm(image.data[:, 0], axis=0)  # over sets of maps
    if comparison.reference == "full sampling":
        error = nrmse(pixels, full_sampling(case.scan))
        (aliased,) = server.send(scan, "cartesian_fft").images
        zero_filled = nrmse(aliased.data[0, 0], full_sampling(case.scan))
        assert zero_filled == pytest.approx(comparison.zero_filled, rel=0.02)
        assert error < 0.8 * zero_filled
        assert "expect aliasing" in aliased.meta["ImageComments"]
    else:
        run_bart: RunBart = request.getfixturevalue("bart")
        (theirs,) = PEERS[comparison.reference](kept.samples(every_line), run_bart)
        error = nrmse_scaled(pixels, theirs, theirs > 0.1 * theirs.max())
    assert error < comparison.below
    assert "aliasing" not in image.meta["ImageComments"]
    is_announced = comparison.calibration_mode != "unannounced"
    if is_announced and comparison.recipe == "cartesian_grappa":
        assert f"calibrated on (1, {case.calibration_lines}," in image.meta["Reconstream.Reconstruction"]
    if is_announced or case.pattern == "equispaced":
        assert image.meta["ImageComments"] == "not noise-whitened: no noise scan"
    else:  # which cannot be told from a scan that lost lines
        assert "lines missing" in image.meta["ImageComments"]
