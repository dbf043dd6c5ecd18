"""Every real Cartesian scan: the same bits whichever way it goes, the picture that other programs make."""

import json
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import h5py
import ismrmrd
import numpy as np
import numpy.typing as npt
import pytest

from pipelines import reconstruct
from pipelines.importers import import_scan
from pipelines.recipe import shipped_recipes
from pipelines.replay import journalled_recipe
from pipelines.sources import open_scan
from recon_core.errors import SessionError
from tests.e2e import peers
from tests.e2e.case_files import Comparison, ScanCase, cases, comparisons, nrmse_scaled
from tests.e2e.journalling_server import JournallingServer, Session
from tests.e2e.peers import PEERS, RunBart
from tests.pipelines.serving import contents

CASES = cases("scans", ScanCase)
COMMAND = Path(sys.executable).parent / "reconstream"

PathOf = Callable[[str], Path]
PeerImage = Callable[[str, str], npt.NDArray[np.float32]]
each_case = pytest.mark.parametrize("name", CASES)


@pytest.fixture(scope="module")
def path_of(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> PathOf:
    """The ISMRMRD file of a case, imported where it is another kind of file."""
    imported = tmp_path_factory.mktemp("imported")

    def path_of(name: str) -> Path:
        source = shared_data / "raw" / CASES[name].scan
        if source.suffix == ".h5":
            return source
        destination = imported / f"{source.stem}.h5"
        return destination if destination.exists() else import_scan(source, destination)

    return path_of


@pytest.fixture(scope="module")
def sent(path_of: PathOf, server: JournallingServer) -> dict[str, Session]:
    """All scans through the server, by the recipe `auto`."""
    return {name: server.send(open_scan(path_of(name)), "auto") for name in CASES}


def by_command(out: Path, *arguments: object) -> dict[str, list[ismrmrd.Image]]:
    """Run the console command with several files; images by the stem of the file they come from."""
    ran = subprocess.run(
        [COMMAND, *map(str, arguments), "--out", out, "--json"], check=True, capture_output=True, text=True
    )
    images = {}
    for outcome in json.loads(ran.stdout):
        (path,) = outcome["files"]
        with ismrmrd.Dataset(path, create_if_needed=False) as dataset:
            n_images = dataset.number_of_images("image_0")
            images[Path(path).stem] = [dataset.read_image("image_0", i) for i in range(n_images)]
            assert outcome["images"] == n_images
    return images


@pytest.fixture(scope="module")
def reconned(path_of: PathOf, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[ismrmrd.Image]]:
    """All scans by `reconstream recon`."""
    return by_command(tmp_path_factory.mktemp("recon"), "recon", *map(path_of, CASES))


@pytest.fixture(scope="module")
def replayed(
    sent: dict[str, Session], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[ismrmrd.Image]]:
    """The journals of all scans by `reconstream replay`."""
    journals = [session.journal for session in sent.values()]
    return by_command(tmp_path_factory.mktemp("replay"), "replay", *journals)


@pytest.fixture(scope="module")
def peer_image(path_of: PathOf, bart: RunBart) -> PeerImage:
    """What a peer makes of a case, `(slice, y, x)`."""

    @cache
    def peer_image(name: str, peer: str) -> npt.NDArray[np.float32]:
        samples = peers.read_samples(path_of(name))
        if samples.noise is not None:
            samples = peers.whitened(samples, bart)
        return PEERS[peer](samples, bart)

    return peer_image


@each_case
def test_server_command_and_replay_give_the_same_bits(
    name: str,
    path_of: PathOf,
    sent: dict[str, Session],
    reconned: dict[str, list[ismrmrd.Image]],
    replayed: dict[str, list[ismrmrd.Image]],
) -> None:
    """Pixels, every header field, every meta attribute."""
    expected = contents(sent[name].images)
    assert len(expected) == CASES[name].shape[0]
    assert contents(reconned[path_of(name).stem]) == expected
    assert contents(replayed[sent[name].journal.stem]) == expected


@pytest.mark.parametrize(("name", "comparison"), comparisons(CASES))
def test_images_are_those_of_another_program(
    name: str, comparison: Comparison, path_of: PathOf, peer_image: PeerImage, server: JournallingServer
) -> None:
    path = path_of(name)
    reference = peer_image(name, comparison.reference)
    # Beyond the object, a program's coil maps may be anything; without maps every pixel counts.
    inside = None if comparison.reference == "rss" else reference > 0.1 * reference.max()

    images, journal = server.send(open_scan(path), comparison.recipe, comparison.settings)
    pixels = magnitudes(images)
    assert pixels.shape == reference.shape == CASES[name].shape
    error = nrmse_scaled(pixels, reference, inside)
    assert error < comparison.below
    for turned in (pixels[:, ::-1], pixels[:, :, ::-1], pixels[:, ::-1, ::-1]):
        assert nrmse_scaled(turned, reference, inside) > 0.3 > 5 * error

    again = reconstruct(path, comparison.recipe, parameters=comparison.settings)
    assert contents(again) == contents(images)
    assert contents(reconstruct(journal, journalled_recipe(journal))) == contents(images)


def magnitudes(images: list[ismrmrd.Image]) -> npt.NDArray[np.float32]:
    """`(slice, y, x)`"""
    return np.stack([np.abs(image.data[0, 0]) for image in images])


@each_case
def test_images_keep_the_geometry_and_the_counters_of_their_readouts(
    name: str, path_of: PathOf, sent: dict[str, Session]
) -> None:
    with h5py.File(path_of(name), "r", locking=False) as file:
        heads = file["dataset/data"]["head"]
        header = ismrmrd.xsd.CreateFromDocument(file["dataset/xml"][0])
    fov_mm = header.encoding[0].reconSpace.fieldOfView_mm
    assert [image.slice for image in sent[name].images] == list(range(CASES[name].shape[0]))
    for image in sent[name].images:
        readout = heads[heads["idx"]["slice"] == image.slice][-1]  # the first may be noise
        for vector in ("position", "read_dir", "phase_dir", "slice_dir"):
            assert np.array_equal(getattr(image, vector), readout[vector])
        assert tuple(image.field_of_view) == pytest.approx((fov_mm.x, fov_mm.y, fov_mm.z))
        assert image.image_type == ismrmrd.IMTYPE_MAGNITUDE
        assert image.repetition == 0


@pytest.mark.parametrize("recipe", [name for name in shipped_recipes() if "cartesian" in name])
def test_a_radial_scan_is_refused_by_every_cartesian_recipe(
    recipe: str, shared_data: Path, server: JournallingServer
) -> None:
    scan = open_scan(shared_data / "raw" / "brain_radial_goldenangle_vfa_5ch.h5")
    with pytest.raises(SessionError, match=r"Accumulate.*expected a cartesian trajectory, got 'goldenangle'"):
        server.send(scan, recipe)
