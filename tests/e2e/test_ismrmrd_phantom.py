"""ISMRMRD's own simulated scans, through the server, against the phantom and ISMRMRD's own program."""

import re
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path

import h5py
import ismrmrd
import numpy as np
import pytest

from pipelines.sources import open_scan
from tests.e2e.case_files import Array, Comparison, PhantomCase, cases, comparisons, nrmse_scaled
from tests.e2e.journalling_server import JournallingServer

CASES = cases("phantom", PhantomCase)

Generated = Callable[[str], Path]
NOISE_FREE = "-m 64 -c 8 -n 0"


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Generated:
    """The file that the generator writes with these options."""
    program = shutil.which("ismrmrd_generate_cartesian_shepp_logan")
    if program is None:
        pytest.skip("ismrmrd-tools is not installed")
    folder = tmp_path_factory.mktemp("phantom")

    @cache
    def generated(options: str) -> Path:
        path = folder / f"{re.sub('[^a-zA-Z0-9.]+', '_', options)}.h5"
        subprocess.run([program, *options.split(), "-o", path], check=True, capture_output=True)
        return path

    return generated


def phantom(path: Path) -> Array:
    """`(y, x)`: the object as all coils together see it, both of which the generator leaves in the file."""
    with h5py.File(path, "r") as file:
        stored, coil_maps = (file[f"dataset/{name}"][0].view(np.complex64) for name in ("phantom", "csm"))
    magnitude: Array = np.abs(stored) * np.linalg.norm(coil_maps, axis=0)
    return magnitude


def pixels(image: ismrmrd.Image) -> Array:
    return np.asarray(image.data[0, 0])


@pytest.mark.parametrize(("name", "comparison"), comparisons(CASES))
def test_every_repetition_becomes_the_phantom(
    name: str, comparison: Comparison, generated: Generated, server: JournallingServer
) -> None:
    case = CASES[name]
    path = generated(case.options)
    images = server.send(open_scan(path), comparison.recipe, comparison.settings).images
    assert [image.repetition for image in images] == list(range(case.repetitions))
    truth = phantom(path)
    for image in images:
        assert tuple(image.field_of_view) == (300, 300, 6)
        # Beyond the object there is noise alone, and maps of it.
        assert nrmse_scaled(pixels(image), truth, truth > 0.05 * truth.max()) < comparison.below
        assert nrmse_scaled(pixels(image), truth) < 2.5 * comparison.below
        whitened = "-C" in case.options.split()
        assert image.meta.get("ImageComments", "") == (
            "" if whitened else "not noise-whitened: no noise scan"
        )


def test_without_noise_the_image_is_that_of_the_ismrmrd_program(
    generated: Generated, server: JournallingServer, tmp_path: Path
) -> None:
    if shutil.which("ismrmrd_recon_cartesian_2d") is None:
        pytest.skip("ismrmrd-tools is not installed")
    path = shutil.copy(generated(NOISE_FREE), tmp_path / "scan.h5")
    (ours,) = server.send(open_scan(path), "cartesian_fft", {"FourierReconstruction.combine": "rss"}).images
    subprocess.run(["ismrmrd_recon_cartesian_2d", path], check=True, capture_output=True)
    with h5py.File(path, "r") as file:
        theirs = file["dataset/cpp/data"][0, 0, 0]
    assert nrmse_scaled(pixels(ours), theirs) < 1e-6
    assert nrmse_scaled(phantom(path), theirs) < 1e-6
    for turned in (theirs[::-1], theirs[:, ::-1], theirs.T):
        assert nrmse_scaled(pixels(ours), turned) > 0.5


def test_k_space_coordinates_beside_cartesian_samples_change_no_pixel(
    generated: Generated, server: JournallingServer
) -> None:
    options = CASES["accelerated"].options
    without, with_coordinates = (
        server.send(open_scan(generated(o)), "auto").images for o in (options, f"{options} -k")
    )
    assert np.array_equal([pixels(i) for i in without], [pixels(i) for i in with_coordinates])
