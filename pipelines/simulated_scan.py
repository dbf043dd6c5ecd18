"""A simulated acquisition as the scanner would stream it: for the demo, tests and benchmarks."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from gadgets.records import FLAG_BITS, HEADER_DTYPE, Readouts
from pipelines.sources import Scan
from recon_core.phantom import FOV_MM, positions_mm
from recon_core.simulate import SimulatedScan

DWELL_TIME_US = 5.0

Which = npt.NDArray[np.bool_]


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
        yield _noise_readout(simulation)
        for number in range(len(simulation.kspace)):
            yield _slice_readouts(simulation, number, acceleration, n_calibration_lines, slice_spacing_mm)

    return Scan(_header_xml(simulation, acceleration, slice_spacing_mm), items)


def _noise_readout(simulation: SimulatedScan) -> Readouts:
    n_coils, n_samples = simulation.noise.shape
    headers = _headers(1, n_coils, n_samples)
    headers["flags"] = FLAG_BITS["IS_NOISE_MEASUREMENT"]
    return Readouts(headers=headers, data=simulation.noise.numpy()[None], trajectory=_no_trajectory(headers))


def _slice_readouts(
    simulation: SimulatedScan, number: int, acceleration: int, n_calibration_lines: int, spacing_mm: float
) -> Readouts:
    n_slices, n_coils, _, n_y, n_x = simulation.kspace.shape
    in_pattern, in_calibration = _sampled(n_y, acceleration, n_calibration_lines)
    lines = np.flatnonzero(in_pattern | in_calibration)

    headers = _headers(len(lines), n_coils, n_x)
    headers["scan_counter"] = 2 + number * len(lines) + np.arange(len(lines))
    headers["idx"]["kspace_encode_step_1"] = lines
    headers["idx"]["slice"] = number
    headers["position"][:, 2] = positions_mm(n_slices, n_slices * spacing_mm)[number]
    _flag(headers, in_calibration[lines] & ~in_pattern[lines], "IS_PARALLEL_CALIBRATION")
    _flag(headers, in_calibration[lines] & in_pattern[lines], "IS_PARALLEL_CALIBRATION_AND_IMAGING")
    _flag(headers, 0, "FIRST_IN_ENCODE_STEP1", "FIRST_IN_SLICE")
    _flag(headers, -1, "LAST_IN_ENCODE_STEP1", "LAST_IN_SLICE")
    if number == n_slices - 1:
        _flag(headers, -1, "LAST_IN_REPETITION", "LAST_IN_MEASUREMENT")
    samples = simulation.kspace[number, :, 0].transpose(0, 1)[lines]
    return Readouts(headers=headers, data=samples.contiguous().numpy(), trajectory=_no_trajectory(headers))


def _sampled(n_lines: int, acceleration: int, n_calibration_lines: int) -> tuple[Which, Which]:
    """`(line,)` each: which phase-encoding lines are imaging, and which are calibration."""
    from_centre = np.arange(n_lines) - n_lines // 2
    half = n_calibration_lines // 2
    in_calibration = (from_centre >= -half) & (from_centre < n_calibration_lines - half)
    return from_centre % acceleration == 0, in_calibration & (acceleration > 1)


def _flag(headers: npt.NDArray[np.void], which: Which | int, *names: str) -> None:
    headers["flags"][which] |= np.uint64(sum(FLAG_BITS[name] for name in names))


def _headers(n_readouts: int, n_coils: int, n_samples: int) -> npt.NDArray[np.void]:
    headers = np.zeros(n_readouts, HEADER_DTYPE)
    headers["version"] = 1
    headers["scan_counter"] = 1
    headers["number_of_samples"] = n_samples
    headers["center_sample"] = n_samples // 2
    headers["active_channels"] = headers["available_channels"] = n_coils
    headers["sample_time_us"] = DWELL_TIME_US
    headers["read_dir"], headers["phase_dir"], headers["slice_dir"] = np.eye(3)
    return headers


def _no_trajectory(headers: npt.NDArray[np.void]) -> npt.NDArray[np.float32]:
    return np.empty((len(headers), int(headers["number_of_samples"][0]), 0), np.float32)


def _header_xml(simulation: SimulatedScan, acceleration: int, spacing_mm: float) -> bytes:
    n_slices, n_coils, _, n_y, n_x = simulation.kspace.shape
    n_recon_x = simulation.ground_truth.shape[-1]
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">
  <studyInformation>
    <bodyPartExamined>HEAD</bodyPartExamined>
  </studyInformation>
  <measurementInformation>
    <measurementID>simulated_head</measurementID>
    <patientPosition>HFS</patientPosition>
    <protocolName>simulated head</protocolName>
  </measurementInformation>
  <acquisitionSystemInformation>
    <systemVendor>simulation</systemVendor>
    <systemFieldStrength_T>3</systemFieldStrength_T>
    <relativeReceiverNoiseBandwidth>1</relativeReceiverNoiseBandwidth>
    <receiverChannels>{n_coils}</receiverChannels>
  </acquisitionSystemInformation>
  <experimentalConditions>
    <H1resonanceFrequency_Hz>127740000</H1resonanceFrequency_Hz>
  </experimentalConditions>
  <encoding>
    <encodedSpace>{_space(n_x, n_y, FOV_MM * n_x / n_recon_x, spacing_mm)}</encodedSpace>
    <reconSpace>{_space(n_recon_x, n_y, FOV_MM, spacing_mm)}</reconSpace>
    <encodingLimits>
      {_limit("kspace_encoding_step_1", n_y, n_y // 2)}
      {_limit("kspace_encoding_step_2", 1, 0)}
      {_limit("slice", n_slices, 0)}
    </encodingLimits>
    <trajectory>cartesian</trajectory>
    <parallelImaging>
      <accelerationFactor>
        <kspace_encoding_step_1>{acceleration}</kspace_encoding_step_1>
        <kspace_encoding_step_2>1</kspace_encoding_step_2>
      </accelerationFactor>
      <calibrationMode>{"embedded" if acceleration > 1 else "other"}</calibrationMode>
    </parallelImaging>
  </encoding>
</ismrmrdHeader>
""".encode()


def _space(n_x: int, n_y: int, width_mm: float, thickness_mm: float) -> str:
    return (
        f"<matrixSize><x>{n_x}</x><y>{n_y}</y><z>1</z></matrixSize>"
        f"<fieldOfView_mm><x>{width_mm}</x><y>{FOV_MM}</y><z>{thickness_mm}</z></fieldOfView_mm>"
    )


def _limit(counter: str, n_values: int, center: int) -> str:
    values = f"<minimum>0</minimum><maximum>{n_values - 1}</maximum><center>{center}</center>"
    return f"<{counter}>{values}</{counter}>"
