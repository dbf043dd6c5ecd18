"""A simulated head along spokes or spirals, as the scanner would stream it."""

import math
from collections.abc import Iterator

import numpy as np
import torch

from gadgets.records import Readouts
from pipelines.simulated_headers import (
    DWELL_TIME_US,
    empty_headers,
    flag,
    header_xml,
    limit_xml,
    noise_readout,
    space_xml,
)
from pipelines.sources import Scan
from recon_core.phantom import FOV_MM
from recon_core.simulate_off_grid import OffGridScan
from recon_core.trajectories import directions, golden_angle, radial, rotated, spiral_arm

OVERSAMPLING = 2
MAX_GRADIENT_MT_PER_M, MAX_SLEW_T_PER_M_PER_S = 18.0, 120.0
"""Of the spirals: with more gradient, samples along an arm would lie further apart than the view allows."""
THICKNESS_MM = 3.0


def golden_spokes(n_spokes: int, matrix: int) -> torch.Tensor:
    """`(spoke, sample, 2)`: full spokes at the golden angle, oversampled along the readout."""
    angles_rad = torch.arange(n_spokes, dtype=torch.float64) * golden_angle()
    return radial(directions(angles_rad), OVERSAMPLING * matrix, spacing=1 / OVERSAMPLING)


def spirals(n_interleaves: int, matrix: int) -> torch.Tensor:
    """`(interleaf, sample, 2)`: arms of uniform density, turned by equal steps, that sample the disc once."""
    arm = spiral_arm(
        (FOV_MM,),
        n_interleaves,
        max_k_per_mm=_radius_per_mm(matrix),
        max_gradient_mt_per_m=MAX_GRADIENT_MT_PER_M,
        max_slew_t_per_m_per_s=MAX_SLEW_T_PER_M_PER_S,
        dwell_time_us=DWELL_TIME_US,
    )
    turns = torch.arange(n_interleaves, dtype=torch.float64) / n_interleaves
    return rotated(arm * FOV_MM, 2 * math.pi * turns)


def radial_scan(simulation: OffGridScan) -> Scan:
    """A noise scan, then the spokes."""
    n_samples, matrix = simulation.kspace.shape[-1], simulation.ground_truth.shape[-1]
    return _scan(simulation, "goldenangle", "", encoded=(n_samples, FOV_MM * n_samples / matrix))


def spiral_scan(simulation: OffGridScan) -> Scan:
    """A noise scan, then the arms; the header describes them as siemens_to_ismrmrd would."""
    n_interleaves, matrix = simulation.kspace.shape[1], simulation.ground_truth.shape[-1]
    numbers = {
        "MaxGradient_G_per_cm": MAX_GRADIENT_MT_PER_M / 10,
        "MaxSlewRate_G_per_cm_per_s": 100 * MAX_SLEW_T_PER_M_PER_S,
        "FOVCoeff_1_cm": FOV_MM / 10,
        "krmax_per_cm": 10 * _radius_per_mm(matrix),
    }
    counts = {
        "interleaves": n_interleaves,
        "fov_coefficients": 1,
        "SamplingTime_ns": round(1000 * DWELL_TIME_US),
    }
    parameters = ["<identifier>HargreavesVDS2000</identifier>"]
    for kind, values in (("Long", counts), ("Double", numbers)):
        parameters += [
            f"<userParameter{kind}><name>{name}</name><value>{value}</value></userParameter{kind}>"
            for name, value in values.items()
        ]
    description = f"<trajectoryDescription>{''.join(parameters)}</trajectoryDescription>"
    return _scan(simulation, "spiral", description, encoded=(matrix, FOV_MM))


def _radius_per_mm(matrix: int) -> float:
    return matrix / 2 / FOV_MM


def _scan(simulation: OffGridScan, trajectory: str, description: str, encoded: tuple[int, float]) -> Scan:
    n_coils, n_readouts, n_samples = simulation.kspace.shape
    matrix = simulation.ground_truth.shape[-1]

    def items() -> Iterator[Readouts]:
        yield noise_readout(simulation.noise)
        headers = empty_headers(n_readouts, n_coils, n_samples)
        headers["scan_counter"] = 2 + np.arange(n_readouts)
        headers["trajectory_dimensions"] = 2
        headers["idx"]["kspace_encode_step_1"] = np.arange(n_readouts)
        if trajectory == "spiral":
            headers["center_sample"] = 0
        flag(headers, 0, "FIRST_IN_SLICE")
        flag(headers, -1, "LAST_IN_SLICE", "LAST_IN_REPETITION", "LAST_IN_MEASUREMENT")
        data = simulation.kspace.transpose(0, 1).contiguous().numpy()
        yield Readouts(headers=headers, data=data, trajectory=simulation.trajectory.numpy())

    xml = header_xml(
        f"simulated head {trajectory}",
        "HEAD",
        n_coils,
        f"""
    <encodedSpace>{space_xml((encoded[0], matrix), (encoded[1], FOV_MM), THICKNESS_MM)}</encodedSpace>
    <reconSpace>{space_xml((matrix, matrix), (FOV_MM, FOV_MM), THICKNESS_MM)}</reconSpace>
    <encodingLimits>
      {limit_xml("kspace_encoding_step_1", n_readouts)}
      {limit_xml("slice", 1)}
    </encodingLimits>
    <trajectory>{trajectory}</trajectory>
    {description}
  """,
    )
    return Scan(xml, items)
