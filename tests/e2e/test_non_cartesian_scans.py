"""Radial and spiral scans: the same bits whichever way they go, the truth, the picture that BART makes."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import ismrmrd
import numpy as np
import numpy.typing as npt
import pytest
import torch

from gadgets.mrd_images import NOTE
from pipelines import reconstruct
from pipelines.recipe import recipe_by_name
from pipelines.replay import journalled_recipe
from pipelines.sources import open_scan
from recon_core.errors import SessionError
from recon_core.fourier import fft, ifft
from recon_core.gradient_delays import displaced
from tests.conftest import RunBart
from tests.e2e.case_files import nrmse_scaled
from tests.e2e.journalling_server import JournallingServer
from tests.non_cartesian import (
    ExactScan,
    exact_scan,
    golden_spokes,
    mrd_scan,
    spiral_arms,
    spiral_description,
)
from tests.pipelines.serving import contents

REAL = "brain_radial_goldenangle_vfa_5ch.h5"
POOLED = {"AccumulateNonCartesian.sort_by": ["slice"]}
N = 64


def magnitudes(images: list[ismrmrd.Image]) -> npt.NDArray[np.float32]:
    """`(image, y, x)`"""
    return np.stack([np.abs(image.data[0, 0]) for image in images])


def truth_within_disc(scan: ExactScan) -> npt.NDArray[np.float32]:
    """What whitened coils of unit noise see of the head, less the corners of k-space, `(y, x)`."""
    k = torch.arange(N) - N // 2
    shading = torch.linalg.vector_norm(scan.coil_maps, dim=0)
    disc = k[:, None].square() + k.square() <= (N / 2) ** 2
    return np.asarray(ifft(fft(scan.truth * shading) * disc).abs()[0])


def error_within_disc(images: list[ismrmrd.Image], scan: ExactScan) -> float:
    """Of the head itself, up to a factor."""
    k, truth = np.arange(N) - N // 2, truth_within_disc(scan)
    disc = torch.from_numpy(k[:, None] ** 2 + k**2 <= (N / 2) ** 2)
    seen = ifft(fft(torch.from_numpy(magnitudes(images)).to(torch.complex64)) * disc).abs()
    return nrmse_scaled(seen[0].numpy(), truth, truth > 0.1 * truth.max())


SCANS = {
    "radial": partial(mrd_scan, exact_scan(golden_spokes(N, 89), N), "goldenangle", oversampling=2),
    "spiral": partial(
        mrd_scan, exact_scan(spiral_arms(N, 16), N), "spiral", description=spiral_description(N, 16)
    ),
}


@pytest.mark.parametrize("kind", SCANS)
@pytest.mark.parametrize("sends_trajectory", [True, False], ids=["sent", "described"])
def test_the_head_comes_back(kind: str, sends_trajectory: bool, server: JournallingServer) -> None:
    """Found by `auto`, trajectory sent or computed from the header; server, file and replay alike."""
    make = SCANS[kind]
    scan = make(sends_trajectory=sends_trajectory)
    images, journal = server.send(scan, "auto")
    (image,) = images
    assert image.meta["Reconstream.Recipe"] == f"{kind}_sense"
    assert NOTE not in image.meta
    assert error_within_disc(images, make.args[0]) < 0.035
    assert contents(reconstruct(journal, journalled_recipe(journal))) == contents(images)


def test_gradient_delays_are_corrected() -> None:
    delays = torch.tensor([[0.7, 0.0], [0.0, -0.5]], dtype=torch.float64)
    meant = golden_spokes(N, 89)
    scan = replace(exact_scan(displaced(meant, delays), N), trajectory=meant.float())
    sent = mrd_scan(scan, "goldenangle")
    recipe = recipe_by_name("radial_sense")
    uncorrected = type(recipe)(
        "uncorrected", "as meant", tuple(step for step in recipe.steps if step.use != "GradientDelays")
    )
    corrected, as_meant = (
        error_within_disc(reconstruct(list(sent.items()), by, header=sent.header_xml), scan)
        for by in (recipe, uncorrected)
    )
    assert corrected < 0.035 < 0.15 < as_meant


@pytest.mark.parametrize(("parameters", "n_images"), [({}, 10), (POOLED, 1)], ids=["repetitions", "pooled"])
def test_the_real_scan_gives_the_same_bits_by_server_file_and_replay(
    parameters: dict[str, object], n_images: int, shared_data: Path, server: JournallingServer
) -> None:
    path = shared_data / "raw" / REAL
    images, journal = server.send(open_scan(path), "radial_sense", parameters)
    assert [image.repetition for image in images] == list(range(n_images))
    assert magnitudes(images).shape == (n_images, 256, 256)
    assert contents(reconstruct(path, "radial_sense", parameters=parameters)) == contents(images)
    assert contents(reconstruct(journal, journalled_recipe(journal))) == contents(images)


def test_the_real_scan_is_the_picture_that_bart_makes(shared_data: Path, bart: RunBart) -> None:
    """Maps and image by BART from the same pooled spokes."""
    path = shared_data / "raw" / REAL
    with ismrmrd.Dataset(str(path), create_if_needed=False) as dataset:
        acquisitions = [dataset.read_acquisition(i) for i in range(dataset.number_of_acquisitions())]
    kspace = np.stack([a.data for a in acquisitions], axis=1)[..., None]
    trajectory = np.pad(np.stack([a.traj for a in acquisitions]), ((0, 0), (0, 0), (0, 1))).astype(
        np.complex64
    )
    (low,) = bart("nufft -i -d32:32:1", trajectory, kspace)
    (calibration,) = bart("fft -u 3", low)
    padded = torch.nn.functional.pad(calibration.view(5, 1, 32, 32), (112, 112, 112, 112))
    (maps,) = bart("ecalib -m1 -r24", padded)
    (theirs,) = bart("pics -S -l2 -r 0.001 -i 20 -t in2", kspace, maps.view(5, 1, 256, 256), trajectory)
    reference = np.asarray(theirs.view(256, 256).abs())
    ours = magnitudes(reconstruct(path, "radial_sense", parameters=POOLED))[0]
    inside = reference > 0.1 * reference.max()
    error = nrmse_scaled(ours, reference, inside)
    assert error < 0.06
    assert all(nrmse_scaled(turned, reference, inside) > 5 * error for turned in (ours[::-1], ours[:, ::-1]))


def test_a_truncated_scan_gives_what_came_and_says_so(shared_data: Path) -> None:
    path = shared_data / "raw" / REAL
    scan = open_scan(path)
    readouts = next(iter(scan.items())).select(slice(0, 34 + 20))
    images = reconstruct([readouts], "radial_sense", header=scan.header_xml)
    assert [image.repetition for image in images] == [0, 1]
    assert "14 of 34 readouts missing" in images[1].meta[NOTE]


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("radial_sense", "expected a radial or spiral trajectory, got 'cartesian'"),
        ("spiral_sense", "expected a radial or spiral trajectory, got 'cartesian'"),
    ],
)
def test_a_cartesian_scan_is_refused(
    recipe: str, message: str, simulated_file: Path, server: JournallingServer
) -> None:
    with pytest.raises(SessionError, match=message):
        server.send(open_scan(simulated_file), recipe)


def test_a_spiral_whose_trajectory_is_nowhere_is_refused(server: JournallingServer) -> None:
    scan = mrd_scan(exact_scan(spiral_arms(N, 4), N), "spiral", sends_trajectory=False)
    with pytest.raises(SessionError, match="a header that describes its spirals by interleaves"):
        server.send(scan, "spiral_sense")
