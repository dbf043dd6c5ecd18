"""Trajectories and samples off the grid: as sent, as described, and what is wrong with them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from gadgets.accumulate_non_cartesian import AccumulateNonCartesian
from gadgets.coil_compression import CoilCompression
from gadgets.coil_maps import CoilMaps
from gadgets.density_compensation import DensityCompensation
from gadgets.gadget import Context
from gadgets.gradient_delays import GradientDelays
from gadgets.noise_adjust import NoiseAdjust
from gadgets.records import NonCartesianKSpace, Readouts
from gadgets.sense import Sense
from gadgets.trajectory import PIXEL_UNITS_NOTE, Trajectory
from pipelines.mrd_header import header_from_xml
from pipelines.sources import Scan, open_scan
from recon_core.errors import InputError
from recon_core.trajectories import directions, golden_angle, radial
from tests.gadgets.small_scan import (
    context,
    encoding,
    flagged,
    joined,
    noise_readout,
    random_complex,
    readouts,
)
from tests.non_cartesian import (
    exact_scan,
    golden_spokes,
    mrd_scan,
    spiral_arms,
    spiral_description,
)

N = 32


def of(scan: Scan) -> tuple[list[Readouts], Context]:
    """The imaging readouts, and the context of the scan."""
    return list(scan.items())[1:], Context(header=header_from_xml(scan.header_xml))


def with_trajectory(scan: Scan, gadget: Trajectory | None = None) -> torch.Tensor:
    blocks, scan_context = of(scan)
    placed = (gadget or Trajectory())(blocks, scan_context)
    return torch.from_numpy(np.concatenate([block.trajectory for block in placed]))


def accumulated(
    blocks: list[Readouts], scan_context: Context, gadget: AccumulateNonCartesian | None = None
) -> list[NonCartesianKSpace]:
    gadget = gadget or AccumulateNonCartesian()
    return list(gadget(Trajectory()(blocks, scan_context), scan_context))


def golden(n_spokes: int = 21, **options: object) -> Scan:
    return mrd_scan(exact_scan(golden_spokes(N, n_spokes), N), "goldenangle", oversampling=2, **options)


def random_spokes(n_spokes: int, n_samples: int = 16, **counters: int) -> Readouts:
    return readouts(random_complex((2, 1, n_spokes, n_samples)), **counters)


@pytest.mark.parametrize("n_repetitions", [1, 3])
def test_golden_spokes_are_computed_as_they_were_acquired(n_repetitions: int) -> None:
    """Oversampled, and going on over repetitions."""
    scan = golden(n_repetitions=n_repetitions, sends_trajectory=False)
    torch.testing.assert_close(with_trajectory(scan), golden_spokes(N, 21).float(), rtol=0, atol=1e-4)


def test_a_real_golden_angle_scan_is_computed_as_it_is_stored(shared_data: Path) -> None:
    """But for the gradient delays that its authors put in."""
    scan = open_scan(shared_data / "raw" / "brain_radial_goldenangle_vfa_5ch.h5")
    scan_context = Context(header=header_from_xml(scan.header_xml))
    stored = next(iter(scan.items())).select(slice(0, 60))
    without = replace(stored, trajectory=stored.trajectory[..., :0])
    (computed,) = Trajectory(first_angle_deg=90.0)([without], scan_context)
    distance = np.linalg.norm(computed.trajectory - stored.trajectory, axis=-1)
    assert 0.19 < distance.min() < distance.max() < 0.23


def test_radial_spokes_fill_the_half_turn_evenly_and_reversed_ones_run_backwards() -> None:
    header = encoding((16, 16, 1), trajectory="radial")
    block = random_spokes(16)
    block = flagged(block, slice(1, 2), "IS_REVERSE")
    (placed,) = joined_blocks(Trajectory()([block], context(header)))
    expected = radial(directions(torch.arange(16, dtype=torch.float64) * torch.pi / 16), 16).float()
    expected[1] *= -1
    torch.testing.assert_close(torch.from_numpy(placed.trajectory), expected)


def joined_blocks(blocks: object) -> list[Readouts]:
    return [joined(*blocks)]  # type: ignore[misc]


def test_angles_come_from_the_header_or_from_the_gadget() -> None:
    described = (
        "<trajectoryDescription><identifier>ours</identifier>"
        "<userParameterDouble><name>angle_step_deg</name><value>23.628</value></userParameterDouble>"
        "<userParameterDouble><name>first_angle_deg</name><value>10</value></userParameterDouble>"
        "</trajectoryDescription>"
    )
    by_header = with_trajectory(golden(sends_trajectory=False, description=described))
    by_gadget = with_trajectory(
        golden(sends_trajectory=False), Trajectory(angle_step_deg=23.628, first_angle_deg=10.0)
    )
    torch.testing.assert_close(by_header, by_gadget)
    angles = np.radians(10) + torch.arange(21, dtype=torch.float64) * golden_angle(7)
    expected = radial(directions(angles), 2 * N, spacing=0.5)
    torch.testing.assert_close(by_gadget, expected.float(), rtol=0, atol=1e-3)


def test_spirals_are_computed_from_the_description_and_their_end_is_discarded() -> None:
    arms = spiral_arms(N, 8)
    scan = exact_scan(arms, N)
    padded = torch.nn.functional.pad(scan.kspace, (0, 5))
    sent = mrd_scan(
        replace(scan, kspace=padded), "spiral", sends_trajectory=False, description=spiral_description(N, 8)
    )
    (kspace,) = accumulated(*of(sent))
    torch.testing.assert_close(kspace.trajectory, arms.float(), rtol=0, atol=1e-4)
    torch.testing.assert_close(kspace.data, scan.kspace)


def test_a_trajectory_in_cycles_per_pixel_is_recognised_and_noted() -> None:
    scan = exact_scan(golden_spokes(N, 21), N)
    per_pixel = mrd_scan(replace(scan, trajectory=scan.trajectory / N), "goldenangle")
    (kspace,) = accumulated(*of(per_pixel))
    torch.testing.assert_close(kspace.trajectory, scan.trajectory)
    assert kspace.notes == (PIXEL_UNITS_NOTE,)


def test_stacks_have_kz_from_the_partition_and_sampling_densities_are_left_out() -> None:
    header = encoding((16, 8, 4), trajectory="radial")
    block = random_spokes(8, kspace_encode_step_2=3)
    (placed,) = joined_blocks(Trajectory()([block], context(header)))
    assert placed.trajectory.shape == (8, 16, 3)
    assert (placed.trajectory[..., 2] == 1).all()
    flat = encoding((16, 8, 1), trajectory="radial")
    (placed,) = joined_blocks(
        Trajectory()([replace(block, trajectory=np.ones((8, 16, 3), np.float32))], context(flat))
    )
    assert placed.trajectory.shape == (8, 16, 2)


def test_repetitions_are_images_of_their_own_or_pooled() -> None:
    blocks, scan_context = of(golden(n_repetitions=3))
    images = accumulated(blocks, scan_context)
    assert [image.data.shape for image in images] == [(4, 7, 2 * N)] * 3
    assert [int(image.header["idx"]["repetition"]) for image in images] == [0, 1, 2]
    (pooled,) = accumulated(blocks, scan_context, AccumulateNonCartesian(sort_by=("slice",)))
    assert torch.equal(pooled.data, torch.cat([image.data for image in images], dim=1))
    assert not pooled.notes


def test_an_image_is_given_out_when_its_last_readout_comes_not_later() -> None:
    blocks, scan_context = of(golden(n_repetitions=3))
    arrived = 0

    def stream() -> object:
        nonlocal arrived
        for block in Trajectory()(blocks, scan_context):
            arrived += 1
            yield block

    images = AccumulateNonCartesian()(stream(), scan_context)  # type: ignore[arg-type]
    next(images)
    assert arrived == 1


def test_whitening_rides_along_and_is_applied_once() -> None:
    blocks, scan_context = of(golden())
    noise = noise_readout(4, 512, level=0.5)
    whitened = list(NoiseAdjust()([noise, *blocks], scan_context))
    (kspace,) = accumulated(whitened, scan_context)
    (plain,) = accumulated(blocks, scan_context)
    matrix = whitened[0].coil_matrix
    assert matrix is not None
    torch.testing.assert_close(kspace.data, torch.einsum("vc,crs->vrs", matrix, plain.data))


def test_compressed_coils_give_the_same_image() -> None:
    """Of six coils made of nine harmonics, five virtual ones see nearly all."""
    scan = mrd_scan(exact_scan(golden_spokes(N, 34), N, n_coils=6), "goldenangle", oversampling=2)
    _, scan_context = of(scan)
    kspace = accumulated(*of(scan))

    def image(items: object) -> torch.Tensor:
        compensated = DensityCompensation()(items, scan_context)  # type: ignore[arg-type]
        (series,) = Sense(n_iterations=10)(CoilMaps()(compensated, scan_context), scan_context)
        return series.data.abs()

    compressed = list(CoilCompression(n_coils=5)(kspace, scan_context))
    assert compressed[0].data.shape[0] == 5
    whole = image(kspace)
    assert (image(compressed) - whole).norm() < 0.03 * whole.norm()


def test_spokes_that_agree_nowhere_are_left_alone_and_noted() -> None:
    header = encoding((16, 8, 1), trajectory="radial")
    images = accumulated([random_spokes(8)], context(header))
    (left,) = GradientDelays()(images, context(header))
    assert torch.equal(left.trajectory, images[0].trajectory)
    assert left.notes[-1].startswith("trajectory not corrected for gradient delays: ")


def test_a_scan_cut_short_gives_what_came_and_says_so() -> None:
    (block,), scan_context = of(golden())
    (kspace,) = accumulated([block.select(slice(0, 15))], scan_context)
    assert kspace.data.shape[1] == 15
    assert kspace.notes == (
        "no last-in-slice flag: reconstructed when the stream ended",
        "6 of 21 readouts missing",
    )


def test_readouts_that_are_none_of_the_image_are_dropped() -> None:
    (block,), scan_context = of(golden())
    navigator = flagged(block.select(slice(0, 1)), slice(None), "IS_NAVIGATION_DATA")
    (kspace,) = accumulated([navigator, block], scan_context)
    assert kspace.data.shape[1] == 21


CARTESIAN = context(encoding((16, 8, 1)))
OTHER = context(encoding((16, 8, 1), trajectory="other"))
TWO_SLICES = context(encoding((16, 8, 1), trajectory="radial", limits={"slice": (0, 1, 0)}))
RADIAL = encoding((16, 8, 1), trajectory="radial")


@pytest.mark.parametrize(
    ("blocks", "scan_context", "message"),
    [
        ([random_spokes(8)], CARTESIAN, "expected a radial or spiral trajectory, got 'cartesian'"),
        (
            [random_spokes(8)],
            context(encoding((16, 8, 1), trajectory="other")),
            "with a trajectory, got none",
        ),
        ([random_spokes(8)], context(encoding((16, 8, 1), trajectory="spiral")), "describes its spirals"),
        (
            [replace(random_spokes(8), trajectory=np.ones((8, 16, 1), np.float32))],
            context(RADIAL),
            "got 1 trajectory dimensions at scan counter 1",
        ),
        (
            [replace(random_spokes(8), trajectory=np.full((8, 16, 2), np.nan, np.float32))],
            context(RADIAL),
            "expected finite positions, got NaN or Inf at scan counter 1",
        ),
        (
            [replace(random_spokes(8), data=np.full((8, 2, 16), np.inf, np.complex64))],
            context(RADIAL),
            "expected finite samples, got NaN or Inf at scan counter 1",
        ),
        ([random_spokes(8), random_spokes(8, 12)], context(RADIAL), "readouts of 16 samples .* got 12"),
        (
            [random_spokes(8, repetition=0, slice=9)],
            context(encoding((16, 8, 1), trajectory="radial", limits={"slice": (0, 1, 0)})),
            "expected slice between",
        ),
        ([], context(RADIAL), "expected imaging readouts, got none"),
    ],
)
def test_what_cannot_be_reconstructed_is_refused(
    blocks: list[Readouts], scan_context: Context, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        accumulated(blocks, scan_context)


def test_memory_is_bounded_and_readouts_without_trajectory_are_refused() -> None:
    with pytest.raises(InputError, match="at most 1000 bytes"):
        accumulated([random_spokes(8)], context(RADIAL), AccumulateNonCartesian(max_bytes=1000))
    with pytest.raises(InputError, match="put the gadget Trajectory in front"):
        list(AccumulateNonCartesian()([random_spokes(8)], context(RADIAL)))
