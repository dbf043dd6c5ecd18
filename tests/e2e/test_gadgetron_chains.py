"""One head, from Gadgetron's configurations here and from our recipes at every point of a Gadgetron chain."""

from pathlib import Path
from xml.etree import ElementTree

import ismrmrd
import numpy as np
import numpy.typing as npt
import pytest
from gadgetron.types.image_array import ImageArray
from gadgetron.types.recon_data import ReconBit, ReconBuffer, ReconData, SamplingDescription

from gadgets import external
from pipelines.gadgetron_xml import recipe_from_xml
from pipelines.reconstruction import reconstruct_scan
from pipelines.simulated_scan import simulated_scan
from pipelines.sources import Scan
from recon_core.simulate import SimulatedScan, simulate_acquisition
from tests.e2e.gadgetron_parent import bucket_bytes, with_child_thread
from tests.pipelines.gadgetron_configurations import (
    GENERIC_FFT,
    GENERIC_GRAPPA,
    OPTIMIZED,
    SIMPLE,
    Chain,
    legacy_xml,
)

EXAMPLES = Path(__file__).parents[2] / "docs" / "gadgetron"
N_Y = N_X = 48
N_COILS = 6

Item = list[object]


@pytest.fixture(scope="module")
def simulation() -> SimulatedScan:
    return simulate_acquisition((N_Y, N_X), N_COILS, n_slices=2)


@pytest.fixture(scope="module")
def scan(simulation: SimulatedScan) -> Scan:
    """Every second line, and calibration lines between them."""
    return simulated_scan(simulation, acceleration=2, n_calibration_lines=16)


def similarity(image: npt.NDArray[np.generic], truth: npt.NDArray[np.generic]) -> float:
    return float(np.corrcoef(np.abs(image).ravel(), np.abs(truth).ravel())[0, 1])


@pytest.mark.parametrize(
    ("chain", "acceleration", "number"),
    [
        (SIMPLE, 1, "float32"),
        (OPTIMIZED, 1, "float32"),
        (GENERIC_FFT, 1, "uint16"),
        (GENERIC_GRAPPA, 2, "uint16"),
    ],
)
def test_gadgetrons_chains_reconstruct_the_head(
    simulation: SimulatedScan, chain: Chain, acceleration: int, number: str
) -> None:
    scan = simulated_scan(simulation, acceleration=acceleration, n_calibration_lines=16)
    recipe = recipe_from_xml(legacy_xml(chain), "the test's")
    images = list(reconstruct_scan(recipe, scan.header_xml, scan.items()))
    assert [image.slice for image in images] == [0, 1]
    for image, truth in zip(images, simulation.ground_truth, strict=True):
        assert image.data.dtype == number
        assert similarity(image.data[0, 0], truth[0].numpy()) > 0.97


def imaging(scan: Scan) -> list[ismrmrd.Acquisition]:
    return [
        a
        for block in scan.items()
        if not block.flagged("IS_NOISE_MEASUREMENT")[0]
        for a in block.acquisitions()
    ]


def parts(
    acquisitions: list[ismrmrd.Acquisition],
) -> tuple[list[ismrmrd.Acquisition], list[ismrmrd.Acquisition]]:
    """Image lines and reference lines, as Gadgetron's buckets part them: some are both."""
    only, both = ismrmrd.ACQ_IS_PARALLEL_CALIBRATION, ismrmrd.ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING
    return (
        [a for a in acquisitions if not a.is_flag_set(only)],
        [a for a in acquisitions if a.is_flag_set(only) or a.is_flag_set(both)],
    )


def as_readouts(scan: Scan) -> Item:
    return [a for block in scan.items() for a in block.acquisitions()]


def as_buckets(scan: Scan) -> Item:
    return [bucket_bytes(*parts([a for a in imaging(scan) if a.idx.slice == n])) for n in (0, 1)]


def as_recon_data(scan: Scan) -> Item:
    return [
        ReconData([ReconBit(*map(buffer_of, parts([a for a in imaging(scan) if a.idx.slice == n])))])
        for n in (0, 1)
    ]


def buffer_of(acquisitions: list[ismrmrd.Acquisition]) -> ReconBuffer:
    """`[E0, E1, E2, CHA, N, S, LOC]` on the encoded grid, as BucketToBufferGadget fills it."""
    n_samples = acquisitions[0].number_of_samples
    data = np.zeros((n_samples, N_Y, 1, N_COILS, 1, 1, 1), np.complex64)
    headers = np.empty((N_Y, 1, 1, 1, 1), dtype=object)
    for where in np.ndindex(headers.shape):
        headers[where] = ismrmrd.AcquisitionHeader()
    for acquisition in acquisitions:
        line = acquisition.idx.kspace_encode_step_1
        data[:, line, 0, :, 0, 0, 0] = acquisition.data.T
        headers[line, 0, 0, 0, 0] = acquisition.getHead()
    return ReconBuffer(data, None, None, headers, SamplingDescription())


def as_image_array(scan: Scan) -> Item:
    """Zero-filled images of the first coil."""
    headers = np.empty((1, 1, 2), dtype=object)
    data = np.zeros((N_X, N_Y, 1, 1, 1, 1, 2), np.complex64)
    for n in (0, 1):
        (buffer,) = (bit.data for bit in as_recon_data(scan)[n])  # type: ignore[attr-defined]
        image = np.fft.fftshift(np.fft.ifftn(np.fft.ifftshift(buffer.data[:, :, 0, 0, 0, 0, 0])))
        data[:, :, 0, 0, 0, 0, n] = image[N_X // 2 : -N_X // 2]
        headers[0, 0, n] = ismrmrd.ImageHeader()
        headers[0, 0, n].slice, headers[0, 0, n].field_of_view = n, (256, 256, 5)
    return [ImageArray(data, headers, [])]


def configuration_of(example: str) -> str:
    root = ElementTree.parse(EXAMPLES / f"{example}.xml").getroot()
    configuration = root.find("stream/external/configuration")
    assert configuration is not None
    return ElementTree.tostring(configuration, "unicode")


def converse(example: str, scan: Scan, items: Item) -> list[ismrmrd.Image]:
    answer = with_child_thread(external.recipe).converse(configuration_of(example), scan.header_xml, items)
    assert answer.errors == []
    assert [image.slice for image in answer.images] == [0, 1]
    return answer.images


def test_readouts_buckets_and_recon_data_give_the_same_images(scan: Scan, simulation: SimulatedScan) -> None:
    """Whichever gadget of Gadgetron's was the last before us; unwhitened, as ReconData cannot be."""
    from_readouts = converse("buckets", scan, as_readouts(scan)[1:])
    for items in (as_buckets(scan), as_recon_data(scan)):
        images = converse("buckets", scan, items)
        for image, wanted in zip(images, from_readouts, strict=True):
            np.testing.assert_allclose(image.data, wanted.data, rtol=1e-5, atol=1e-6)
            assert tuple(image.position) == tuple(wanted.position)
            assert tuple(image.field_of_view) == tuple(wanted.field_of_view)
    for image, truth in zip(from_readouts, simulation.ground_truth, strict=True):
        assert similarity(image.data[0, 0], truth[0].numpy()) > 0.99


@pytest.mark.parametrize(
    ("example", "arriving"),
    [("readouts", as_readouts), ("buckets", as_buckets), ("recon_data", as_recon_data)],
)
def test_the_documented_examples_reconstruct_the_head(
    example: str, arriving: object, scan: Scan, simulation: SimulatedScan
) -> None:
    images = converse(example, scan, arriving(scan))  # type: ignore[operator]
    for image, truth in zip(images, simulation.ground_truth, strict=True):
        assert similarity(image.data[0, 0], truth[0].numpy()) > 0.97


def test_the_documented_image_example_gives_phase_images(scan: Scan) -> None:
    images = converse("image_arrays", scan, as_image_array(scan))
    assert all(image.image_type == ismrmrd.IMTYPE_PHASE for image in images)
    assert all(np.abs(image.data).max() <= np.float32(np.pi) for image in images)


@pytest.mark.parametrize("example", ["readouts", "buckets", "recon_data", "image_arrays"])
def test_the_documented_examples_start_us_as_gadgetron_does(example: str) -> None:
    root = ElementTree.parse(EXAMPLES / f"{example}.xml").getroot()
    execute = root.find("stream/external/execute")
    assert execute is not None
    assert (execute.get("name"), execute.get("target")) == (external.__name__, external.recipe.__name__)
