"""Every built-in gadget goes through the conformance kit; the kit finds gadgets that break its laws."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache
from types import UnionType
from typing import Any, get_args

import pytest
from ismrmrd.xsd import CreateFromDocument

from gadgets.accumulate import Accumulate
from gadgets.accumulate_non_cartesian import AccumulateNonCartesian
from gadgets.coil_maps import CoilMaps
from gadgets.feature_records import FeatureSeries, FeatureSpace
from gadgets.flip_angle_subspace import FlipAngleSubspace
from gadgets.gadget import Context, Gadget
from gadgets.image_type import ImageType
from gadgets.records import (
    CalibratedKSpace,
    CalibratedNonCartesianKSpace,
    ImageSeries,
    KSpace,
    NonCartesianKSpace,
    Readouts,
)
from gadgets.registry import known_gadgets
from gadgets.subspace_reconstruction import SubspaceReconstruction
from gadgets.testing import assert_gadget_conforms
from gadgets.trajectory import Trajectory
from pipelines.multitasking_scan import multitasking_scan
from pipelines.recipe import Recipe, Step
from pipelines.runner import run_threaded
from pipelines.sources import Scan
from recon_core.dynamic.bloch import InversionRecovery
from recon_core.dynamic.multitasking import MultitaskingScan, Protocol, random_subject
from tests.gadgets.small_scan import context, encoding, flagged, head_kspace, joined, noise_readout, readouts
from tests.non_cartesian import exact_scan, golden_spokes

ENCODING = encoding(
    (64, 32, 1),
    recon=(32, 32, 1),
    limits={"slice": (0, 1, 0)},
    acceleration=(2, 1),
    calibration_mode="embedded",
)
FLIP_ANGLES: dict[str, Any] = {"flip_angles_deg": (3.0, 15.0), "tr_ms": 5.0, "counter": "slice", "rank": 1}
OF_NAVIGATORS = ("FindNavigators", "NavigatorSubspace", "MultitaskingSubspace")
PARAMETERS: dict[str, dict[str, Any]] = {
    "CoilCompression": {"n_coils": 3},
    "CoilMaps": {"calibration_width": 14, "kernel_width": 4},
    "Sense": {"n_iterations": 3},
    "WaveletSense": {"n_iterations": 3},
    "TotalVariationSense": {"n_iterations": 3},
    "Spirit": {"kernel_width": 5, "n_iterations": 3},
    "NameSeries": {"index": 3, "name": "head"},
    "AddMeta": {"attributes": {"Patient": "nobody"}},
    "FlipAngleSubspace": FLIP_ANGLES,
    "SubspaceReconstruction": {"n_iterations": 2, "n_inner_iterations": 2},
    "FeatureNetwork": {"fallback_iterations": 2},
    "NavigatorSubspace": {"rank": 1, "n_learning": 8},
    "MultitaskingSubspace": {"rank": 1},
}


MULTITASKING = Protocol(
    matrix=16, n_coils=3, n_spokes=150, sequence=InversionRecovery(n_pulses=48, tr_ms=40.0, delay_ms=10.0)
)
GOLDEN_ANGLE = encoding((64, 16, 1), recon=(32, 32, 1), limits={"slice": (0, 1, 0)}, trajectory="goldenangle")


def new_context() -> Context:
    return context(ENCODING)


def non_cartesian_context() -> Context:
    return context(GOLDEN_ANGLE)


@cache
def scan() -> tuple[Readouts, ...]:
    """Noise, then two slices at R = 2 with reference lines, the second in one block with the first's end."""
    kspace, _ = head_kspace(4, (32, 64))
    slices = []
    for number in range(2):
        lines = [(0, y) for y in range(32) if y % 2 == 0 or 9 <= y < 23]
        block = readouts(kspace.numpy(), lines, slice=number)
        y = block.headers["idx"]["kspace_encode_step_1"]
        block = flagged(block, (y % 2 == 1), "IS_PARALLEL_CALIBRATION")
        slices.append(
            flagged(block, (y % 2 == 0) & (y >= 9) & (y < 23), "IS_PARALLEL_CALIBRATION_AND_IMAGING")
        )
    whole = joined(*slices)
    return noise_readout(4, 128), whole.select(slice(0, 9)), whole.select(slice(9, None))


@cache
def spokes() -> tuple[Readouts, ...]:
    """Two slices of golden-angle spokes without a trajectory, and noise in between."""
    kspace = exact_scan(golden_spokes(32, 16), 32).kspace.numpy()[:, None]
    whole = joined(*(readouts((1 + number) * kspace, slice=number) for number in range(2)))
    return whole.select(slice(0, 9)), noise_readout(4, 128), whole.select(slice(9, None))


@cache
def multitasking() -> Scan:
    return multitasking_scan(MultitaskingScan(random_subject(MULTITASKING), MULTITASKING))


def multitasking_context() -> Context:
    return Context(header=CreateFromDocument(multitasking().header_xml))


@cache
def with_navigators() -> tuple[Any, ...]:
    items = known_gadgets()["NoiseAdjust"]()(multitasking().items(), multitasking_context())
    return (joined(*items),)


@cache
def stream(kind: type | UnionType) -> tuple[Any, ...]:
    """Items of a type, made by the gadgets that make it."""
    if isinstance(kind, UnionType):
        return tuple(item for member in get_args(kind) for item in stream(member))
    if kind is Readouts:
        return scan()
    if kind is NonCartesianKSpace:
        with_trajectory = Trajectory()(spokes(), non_cartesian_context())
        return tuple(AccumulateNonCartesian()(with_trajectory, non_cartesian_context()))
    if kind is CalibratedNonCartesianKSpace:
        return tuple(CoilMaps(kernel_width=3)(stream(NonCartesianKSpace), new_context()))
    if kind is FeatureSpace:
        return tuple(FlipAngleSubspace(**FLIP_ANGLES)(stream(CalibratedNonCartesianKSpace), new_context()))
    if kind is FeatureSeries:
        solver = SubspaceReconstruction(**PARAMETERS["SubspaceReconstruction"])
        return tuple(solver(stream(FeatureSpace), new_context()))
    if kind is KSpace:
        return tuple(Accumulate()(scan(), new_context()))
    if kind is CalibratedKSpace:
        return tuple(CoilMaps(calibration_width=14, kernel_width=4)(stream(KSpace), new_context()))
    grappa = known_gadgets()["Grappa"]
    return tuple(grappa()(stream(KSpace), new_context()))


def items_for(gadget: Gadget) -> tuple[Any, ...]:
    if type(gadget).__name__ in OF_NAVIGATORS:
        return with_navigators()
    if type(gadget).__name__ == "Trajectory":
        return spokes()
    if type(gadget).__name__ == "AccumulateNonCartesian":
        return tuple(Trajectory()(spokes(), non_cartesian_context()))
    items = stream(gadget.accepts)
    if type(gadget).__name__ in ("ScaleIntensity", "Window"):
        return tuple(ImageType()(items, new_context()))
    if type(gadget).__name__ == "PartialFourier":
        return tuple(replace(image, acquired=(slice(0, 1), slice(0, 20), slice(0, 64))) for image in items)
    return items


def run_alone(gadget: Gadget, items: Iterable[Any], scan_context: Context) -> Iterator[Any]:
    recipe = Recipe("one", "a recipe of one gadget", (Step(type(gadget).__name__),))
    recipe.__dict__["gadgets"] = (gadget,)
    return run_threaded(recipe, items, scan_context)


@pytest.mark.parametrize("name", sorted(known_gadgets()))
def test_every_gadget_conforms(name: str) -> None:
    gadget = known_gadgets()[name](**PARAMETERS.get(name, {}))
    new = new_context
    if name in ("Trajectory", "AccumulateNonCartesian"):
        new = non_cartesian_context
    elif name in OF_NAVIGATORS:
        new = multitasking_context
    foreign = None if name == "MultitaskingSubspace" else run_alone  # which takes waveforms
    assert_gadget_conforms(gadget, items_for(gadget), new, run=foreign)


class _Counts(Gadget, frozen=True):
    accepts = Readouts
    emits = Readouts

    def __call__(self, items: Iterable[Readouts], context: Context) -> Iterator[Readouts]:
        for block in items:
            _SEEN.append(len(block))
            yield replace(block, notes=(str(len(_SEEN)),))


_SEEN: list[int] = []


class _NotesBlockSize(Gadget, frozen=True):
    accepts = Readouts
    emits = Readouts

    def __call__(self, items: Iterable[Readouts], context: Context) -> Iterator[Readouts]:
        for block in items:
            yield replace(block, notes=(str(len(block)),))


class _Scales(Gadget, frozen=True):
    accepts = Readouts
    emits = Readouts

    def __call__(self, items: Iterable[Readouts], context: Context) -> Iterator[Readouts]:
        for block in items:
            block.data[:] *= 2
            yield block


class _Lies(Gadget, frozen=True):
    accepts = Readouts
    emits = ImageSeries

    def __call__(self, items: Iterable[Readouts], context: Context) -> Iterator[Readouts]:
        yield from items


class _Undocumented(Gadget, frozen=True):
    accepts = Readouts
    emits = Readouts
    gain: float = 1.0

    def __call__(self, items: Iterable[Readouts], context: Context) -> Iterator[Readouts]:
        yield from items


@pytest.mark.parametrize(
    ("gadget", "law"),
    [
        (_Counts(), "second stream"),
        (_NotesBlockSize(), "blocks of 1"),
        (_Scales(), "input is left"),
        (_Lies(), "of the types"),
        (_Undocumented(), "gain is documented"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Gadget) else "",
)
def test_the_kit_finds_a_gadget_that_breaks_a_law(gadget: Gadget, law: str) -> None:
    block = joined(*scan()[1:])
    with pytest.raises(AssertionError, match=law):
        assert_gadget_conforms(gadget, [block.select(slice(0, 9)), block.select(slice(9, None))], new_context)
