"""Simulated multitasking scans: the same bits whichever way they go, what moves, and what is missing."""

from collections.abc import Iterable
from functools import cache

import ismrmrd
import numpy as np
import pytest

from gadgets.mrd_images import FALLBACK, NOTE
from gadgets.records import Readouts
from pipelines import reconstruct
from pipelines.multitasking_scan import multitasking_scan
from pipelines.replay import journalled_recipe
from pipelines.sources import Item, Scan
from recon_core.dynamic.bloch import InversionRecovery
from recon_core.dynamic.multitasking import MultitaskingScan, Protocol, random_subject
from recon_core.errors import ReconstreamError
from tests.e2e.journalling_server import JournallingServer
from tests.pipelines.serving import contents

N = 32
PROTOCOL = Protocol(
    matrix=N,
    n_coils=3,
    n_spokes=440,
    snr=30,
    sequence=InversionRecovery(n_pulses=96, tr_ms=24.0, delay_ms=10.0, flip_angle_deg=8),
)
SMALL = {
    "MultitaskingSubspace.rank": 8,
    "MultitaskingSubspace.n_phases": 6,
    "MultitaskingSubspace.n_breaths": 2,
}


@cache
def simulation() -> MultitaskingScan:
    """21 s of a beating, breathing chest."""
    return MultitaskingScan(random_subject(PROTOCOL, 1), PROTOCOL, 1)


@cache
def scan() -> Scan:
    made = multitasking_scan(simulation(), with_ecg=True)
    items = tuple(made.items())
    return Scan(made.header_xml, lambda: iter(items))


def reconstructed(
    items: Iterable[Item], recipe: str, parameters: dict[str, object] | None = None
) -> list[ismrmrd.Image]:
    return reconstruct(list(items), recipe, header=scan().header_xml, parameters=parameters or {})


def magnitudes(images: list[ismrmrd.Image]) -> np.ndarray:
    return np.stack([np.abs(image.data[0, 0]) for image in images])


def readouts_only() -> list[Readouts]:
    return [item for item in scan().items() if isinstance(item, Readouts)]


@pytest.mark.parametrize(("recipe", "parameters"), [("radial_subspace", {}), ("multitasking", SMALL)])
def test_server_file_and_replay_give_the_same_bits(
    recipe: str, parameters: dict[str, object], server: JournallingServer
) -> None:
    images, journal = server.send(scan(), recipe, parameters)
    assert contents(reconstructed(scan().items(), recipe, parameters)) == contents(images)
    assert contents(reconstruct(journal, journalled_recipe(journal))) == contents(images)


def test_frames_over_the_scan_follow_the_inversion_recovery() -> None:
    """Less the first ones, before recovery is periodic; up to each voxel's shading by whitened coils."""
    images = magnitudes(reconstructed(scan().items(), "radial_subspace"))
    assert images.shape == (32, N, N)
    navigators = np.linspace(0, PROTOCOL.n_spokes - 1, 32).round().astype(int)
    readouts = 2 * navigators
    truth = simulation().chest.frames(
        simulation().motion.cardiac_phase[readouts],
        simulation().motion.respiration[readouts],
        simulation().pulse[readouts],
    )
    truth = np.asarray(truth.abs())
    body = truth.max(0) > 0.1 * truth.max()
    after_first_recovery = simulation().recovery[readouts].numpy() > 1
    courses, true_courses = images[after_first_recovery][:, body], truth[after_first_recovery][:, body]
    scale = (courses * true_courses).sum(0) / (courses**2).sum(0)
    assert np.linalg.norm(scale * courses - true_courses) < 0.12 * np.linalg.norm(true_courses)


def test_multitasking_gives_a_t1_map_and_a_heartbeat_and_says_that_it_fell_back() -> None:
    t1_map, *cine = reconstructed(scan().items(), "multitasking", SMALL)
    assert [image.phase for image in cine] == list(range(6))
    assert t1_map.meta["DataRole"] == "Quantitative"
    assert t1_map.meta["Unit"] == "ms"
    for image in (t1_map, *cine):
        assert image.meta[FALLBACK] == "true"
        assert "model 'multitasking'" in " ".join(np.atleast_1d(image.meta[NOTE]))
        assert "(fallback: subspace ADMM, wavelets)" in image.meta["SeriesDescription"]


def test_frames_that_there_are_not_and_ranks_above_the_data_are_refused() -> None:
    with pytest.raises(ReconstreamError, match=r"expected a rank from 1 to \d+, that of the"):
        reconstructed(scan().items(), "radial_subspace", {"NavigatorSubspace.rank": 400})
    with pytest.raises(ReconstreamError, match=r"expected repetition from 0 to 31, got \[32"):
        reconstructed(scan().items(), "radial_subspace", {"ExpandFrames.repetitions": [32]})


def test_a_scan_without_navigators_is_refused() -> None:
    without = [block.select(~block.flagged("IS_NAVIGATION_DATA")) for block in readouts_only()]
    with pytest.raises(ReconstreamError, match="expected navigators, readouts flagged IS_NAVIGATION_DATA"):
        reconstructed(without, "radial_subspace")
    with pytest.raises(ReconstreamError, match="expected navigators, readouts flagged IS_NAVIGATION_DATA"):
        reconstructed(without, "multitasking")


def test_a_truncated_scan_is_made_of_what_came_without_motion_it_is_too_short_for() -> None:
    noise, *blocks = readouts_only()
    short = [noise, *blocks[: len(blocks) // 4]]
    images = reconstructed(short, "radial_subspace")
    n_came = sum(map(len, short[1:])) // 2
    assert f"{PROTOCOL.n_spokes - n_came} of {PROTOCOL.n_spokes} readouts missing" in images[0].meta[NOTE]
    _, *cine = reconstructed(short, "multitasking", SMALL)
    notes = " ".join(cine[0].meta[NOTE])
    assert len(cine) <= 6
    assert "no breath, frames are means over it" in notes
    assert "readouts missing" in notes
