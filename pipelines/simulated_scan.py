"""A simulated acquisition as the scanner would stream it: for the demo, tests and benchmarks."""

from collections.abc import Iterator

import numpy as np

from gadgets.records import Readouts
from pipelines.simulated_headers import (
    Which,
    empty_headers,
    flag,
    header_xml,
    limit_xml,
    no_trajectory,
    noise_readout,
    space_xml,
)
from pipelines.sources import Scan
from recon_core.phantom import FOV_MM, positions_mm
from recon_core.simulate import SimulatedScan


def simulated_scan(
    simulation: SimulatedScan,
    *,
    acceleration: int = 1,
    n_calibration_lines: int = 24,
    slice_spacing_mm: float = 3.0,
) -> Scan:
    """A noise scan, then one slice after the other, Cartesian.

    Every `acceleration`-th phase-encoding line is acquired, counted from k = 0, and in between the central
    `n_calibration_lines`, flagged as calibration. The x axis runs to the patient's left, y to posterior, the
    slices to superior.
    """

    def items() -> Iterator[Readouts]:
        yield noise_readout(simulation.noise)
        for number in range(len(simulation.kspace)):
            yield _slice_readouts(simulation, number, acceleration, n_calibration_lines, slice_spacing_mm)

    return Scan(_header_xml(simulation, acceleration, slice_spacing_mm), items)


def _slice_readouts(
    simulation: SimulatedScan, number: int, acceleration: int, n_calibration_lines: int, spacing_mm: float
) -> Readouts:
    n_slices, n_coils, _, n_y, n_x = simulation.kspace.shape
    in_pattern, in_calibration = _sampled(n_y, acceleration, n_calibration_lines)
    lines = np.flatnonzero(in_pattern | in_calibration)

    headers = empty_headers(len(lines), n_coils, n_x)
    headers["scan_counter"] = 2 + number * len(lines) + np.arange(len(lines))
    headers["idx"]["kspace_encode_step_1"] = lines
    headers["idx"]["slice"] = number
    headers["position"][:, 2] = positions_mm(n_slices, n_slices * spacing_mm)[number]
    flag(headers, in_calibration[lines] & ~in_pattern[lines], "IS_PARALLEL_CALIBRATION")
    flag(headers, in_calibration[lines] & in_pattern[lines], "IS_PARALLEL_CALIBRATION_AND_IMAGING")
    flag(headers, 0, "FIRST_IN_ENCODE_STEP1", "FIRST_IN_SLICE")
    flag(headers, -1, "LAST_IN_ENCODE_STEP1", "LAST_IN_SLICE")
    if number == n_slices - 1:
        flag(headers, -1, "LAST_IN_REPETITION", "LAST_IN_MEASUREMENT")
    samples = simulation.kspace[number, :, 0].transpose(0, 1)[lines]
    return Readouts(headers=headers, data=samples.contiguous().numpy(), trajectory=no_trajectory(headers))


def _sampled(n_lines: int, acceleration: int, n_calibration_lines: int) -> tuple[Which, Which]:
    """`(line,)` each: which phase-encoding lines are imaging, and which are calibration."""
    from_centre = np.arange(n_lines) - n_lines // 2
    half = n_calibration_lines // 2
    in_calibration = (from_centre >= -half) & (from_centre < n_calibration_lines - half)
    return from_centre % acceleration == 0, in_calibration & (acceleration > 1)


def _header_xml(simulation: SimulatedScan, acceleration: int, spacing_mm: float) -> bytes:
    n_slices, n_coils, _, n_y, n_x = simulation.kspace.shape
    n_recon_x = simulation.ground_truth.shape[-1]
    return header_xml(
        "simulated head",
        "HEAD",
        n_coils,
        f"""
    <encodedSpace>{space_xml((n_x, n_y), (FOV_MM * n_x / n_recon_x, FOV_MM), spacing_mm)}</encodedSpace>
    <reconSpace>{space_xml((n_recon_x, n_y), (FOV_MM, FOV_MM), spacing_mm)}</reconSpace>
    <encodingLimits>
      {limit_xml("kspace_encoding_step_1", n_y, n_y // 2)}
      {limit_xml("kspace_encoding_step_2", 1)}
      {limit_xml("slice", n_slices)}
    </encodingLimits>
    <trajectory>cartesian</trajectory>
    <parallelImaging>
      <accelerationFactor>
        <kspace_encoding_step_1>{acceleration}</kspace_encoding_step_1>
        <kspace_encoding_step_2>1</kspace_encoding_step_2>
      </accelerationFactor>
      <calibrationMode>{"embedded" if acceleration > 1 else "other"}</calibrationMode>
    </parallelImaging>
  """,
    )
