"""The simulated scan says in MRD what the simulation is."""

import ismrmrd
import numpy as np
import pytest
import torch

from gadgets.records import Readouts
from pipelines.mrd_header import header_from_xml
from pipelines.simulated_scan import simulated_scan
from recon_core.phantom import FOV_MM
from recon_core.simulate import SimulatedScan, simulate_acquisition


@pytest.fixture(scope="module")
def simulation() -> SimulatedScan:
    return simulate_acquisition((31, 32), 4, n_slices=2)


def test_the_header_is_one_that_the_reference_parser_reads(simulation: SimulatedScan) -> None:
    scan = simulated_scan(simulation, acceleration=2)
    header = ismrmrd.xsd.CreateFromDocument(scan.header_xml)
    assert header_from_xml(scan.header_xml) == header
    encoding = header.encoding[0]
    assert encoding.encodedSpace.matrixSize.x == 2 * encoding.reconSpace.matrixSize.x == 64
    assert encoding.reconSpace.fieldOfView_mm.x == FOV_MM
    assert encoding.encodingLimits.kspace_encoding_step_1.center == 15
    assert encoding.parallelImaging.accelerationFactor.kspace_encoding_step_1 == 2


def test_without_acceleration_every_sample_is_sent_once(simulation: SimulatedScan) -> None:
    noise, *slices = simulated_scan(simulation).items()
    torch.testing.assert_close(torch.from_numpy(noise.data[0]), simulation.noise)
    for number, block in enumerate(slices):
        np.testing.assert_array_equal(block.headers["idx"]["kspace_encode_step_1"], np.arange(31))
        assert (block.headers["idx"]["slice"] == number).all()
        sent = torch.from_numpy(block.data).transpose(0, 1)
        torch.testing.assert_close(sent, simulation.kspace[number, :, 0])


def test_the_pattern_holds_the_centre_and_calibration_lines_are_flagged(simulation: SimulatedScan) -> None:
    _, block, _ = simulated_scan(simulation, acceleration=3, n_calibration_lines=6).items()
    lines = block.headers["idx"]["kspace_encode_step_1"]
    imaging = set(range(0, 31, 3))
    assert set(lines.tolist()) == imaging | set(range(12, 18))
    calibrating = block.flagged("IS_PARALLEL_CALIBRATION")
    both = block.flagged("IS_PARALLEL_CALIBRATION_AND_IMAGING")
    assert set(lines[calibrating].tolist()) == {13, 14, 16, 17}
    assert set(lines[both].tolist()) == {12, 15}


def test_first_and_last_are_flagged_and_scan_counters_count(simulation: SimulatedScan) -> None:
    blocks: list[Readouts] = list(simulated_scan(simulation, acceleration=2).items())
    counters = np.concatenate([block.headers["scan_counter"] for block in blocks])
    np.testing.assert_array_equal(counters, 1 + np.arange(len(counters)))
    for block in blocks[1:]:
        assert block.flagged("FIRST_IN_SLICE").tolist() == [True] + [False] * (len(block) - 1)
        assert block.flagged("LAST_IN_SLICE").tolist() == [False] * (len(block) - 1) + [True]
    assert [block.flagged("LAST_IN_MEASUREMENT").any() for block in blocks] == [False, False, True]
    assert [float(block.headers["position"][0, 2]) for block in blocks[1:]] == [-3.0, 0.0]
