"""Trajectories that the MRD header describes, for readouts that come without."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from gadgets.encoding import Encoding
from gadgets.encoding_spaces import COUNTER_NAMES, counters_of
from gadgets.records import Readouts
from recon_core.errors import InputError
from recon_core.trajectories import directions, golden_angle, radial, rotated, spiral_arm

SPIRAL_PARAMETERS = (
    "interleaves",
    "SamplingTime_ns",
    "MaxGradient_G_per_cm",
    "MaxSlewRate_G_per_cm_per_s",
    "FOVCoeff_1_cm",
    "krmax_per_cm",
)
"""Of the trajectory description `HargreavesVDS2000`, which siemens_to_ismrmrd writes and Gadgetron reads."""


class HeaderTrajectory:
    """Computes what the header's encodings describe.

    Args:
        header: the parsed MRD header.
        angle_step_deg, first_angle_deg: in place of what the header says.
        continues_over: counters over which the count of golden-angle readouts goes on.
    """

    def __init__(
        self,
        header: Any,
        angle_step_deg: float | None,
        first_angle_deg: float | None,
        continues_over: Sequence[str],
    ) -> None:
        self._header = header
        self._angle_step_deg, self._first_angle_deg = angle_step_deg, first_angle_deg
        self._continues_over = continues_over
        self._arms: dict[int, torch.Tensor] = {}

    def attached(self, readouts: Readouts, encoding: Encoding) -> Readouts:
        """The readouts, all of one encoding space, with their trajectory in cycles per field of view.

        Raises InputError naming what the header lacks.
        """
        space = int(readouts.headers["encoding_space_ref"][0])
        described = self._described(space)
        angles = torch.from_numpy(self._angles(readouts, encoding, described))
        if encoding.trajectory in ("radial", "goldenangle"):
            return replace(readouts, trajectory=_spokes(readouts, encoding, angles))
        if encoding.trajectory == "spiral":
            if space not in self._arms:
                self._arms[space] = _arm(described)
            return _on_arms(readouts, encoding, self._arms[space], angles)
        raise InputError(
            f"Trajectory: expected readouts with a trajectory, got none in an encoding of trajectory "
            f"'{encoding.trajectory}'; send it with the readouts"
        )

    def _angles(
        self, readouts: Readouts, encoding: Encoding, described: dict[str, float]
    ) -> npt.NDArray[np.float64]:
        """(readout,) in radians."""
        counted = ["kspace_encode_step_1"]
        numbers = counters_of(readouts)[:, 0].astype(np.int64)
        step_deg = self._angle_step_deg or described.get("angle_step_deg")
        if encoding.trajectory == "goldenangle" or step_deg:
            for counter in self._continues_over:
                count = counters_of(readouts)[:, COUNTER_NAMES.index(counter)].astype(np.int64)
                if count.any():
                    numbers += count * math.prod(_n_steps(encoding, before) for before in counted)
                counted.append(counter)
        if step_deg:
            step = math.radians(step_deg)
        elif encoding.trajectory == "goldenangle":
            step = golden_angle()
        else:
            n = described.get("interleaves") or _n_steps(encoding, "kspace_encode_step_1")
            step = (2 * math.pi if encoding.trajectory == "spiral" else math.pi) / n
        first_deg = self._first_angle_deg
        first = math.radians(described.get("first_angle_deg", 0.0) if first_deg is None else first_deg)
        angles: npt.NDArray[np.float64] = first + numbers.astype(np.float64) * step
        return angles

    def _described(self, space: int) -> dict[str, float]:
        """Numbers among the header's user parameters and, before them, its trajectory description."""
        found: dict[str, float] = {}
        for source in (self._header.userParameters, self._header.encoding[space].trajectoryDescription):
            if source is not None:
                for parameter in (*source.userParameterLong, *source.userParameterDouble):
                    found[parameter.name] = float(parameter.value)
        return found


def _n_steps(encoding: Encoding, counter: str) -> int:
    limit = encoding.limits.get(counter)
    if limit is None:
        raise InputError(
            f"Trajectory: expected encoding limits of {counter} to compute angles from, got none; add them "
            "to the header, or send the trajectory with the readouts"
        )
    return limit.maximum + 1


def _spokes(readouts: Readouts, encoding: Encoding, angles: torch.Tensor) -> npt.NDArray[np.float32]:
    """(readout, sample, 2); a readout flagged REVERSE runs its spoke backwards."""
    n_samples = readouts.data.shape[2]
    centre = int(readouts.headers["center_sample"][0]) or n_samples // 2
    spacing_per_mm = 1 / encoding.encoded_fov_mm[0]
    spokes = radial(directions(angles), n_samples, spacing=spacing_per_mm, center_sample=centre)
    trajectory = _per_fov(spokes, encoding)
    trajectory[readouts.flagged("IS_REVERSE")] *= -1
    return trajectory


def _per_fov(trajectory: torch.Tensor, encoding: Encoding) -> npt.NDArray[np.float32]:
    """Cycles per mm in cycles per field of view."""
    fov_mm = np.array(encoding.recon_fov_mm[:2])
    per_fov: npt.NDArray[np.float32] = (trajectory.numpy() * fov_mm).astype(np.float32)
    return per_fov


def _arm(described: dict[str, float]) -> torch.Tensor:
    """(sample, 2) in cycles per mm."""
    missing = [name for name in SPIRAL_PARAMETERS if name not in described]
    if missing:
        raise InputError(
            f"Trajectory: expected readouts with a trajectory, or a header that describes its spirals by "
            f"{', '.join(SPIRAL_PARAMETERS)}, got neither: {', '.join(missing)} missing; add one of them"
        )
    n_coefficients = int(described.get("fov_coefficients", 1))
    return spiral_arm(
        tuple(10 * described.get(f"FOVCoeff_{i}_cm", 0.0) for i in range(1, n_coefficients + 1)),
        int(described["interleaves"]),
        max_k_per_mm=described["krmax_per_cm"] / 10,
        max_gradient_mt_per_m=10 * described["MaxGradient_G_per_cm"],
        max_slew_t_per_m_per_s=described["MaxSlewRate_G_per_cm_per_s"] / 100,
        dwell_time_us=described["SamplingTime_ns"] / 1000,
    )


def _on_arms(readouts: Readouts, encoding: Encoding, arm: torch.Tensor, angles: torch.Tensor) -> Readouts:
    """With the arm's positions; samples that the readout takes after its end are to be discarded."""
    n_samples = readouts.data.shape[2]
    n_on_arm = min(len(arm), n_samples)
    trajectory = np.zeros((len(readouts), n_samples, 2), np.float32)
    trajectory[:, :n_on_arm] = _per_fov(rotated(arm[:n_on_arm], angles), encoding)
    headers = readouts.headers.copy()
    headers["discard_post"] = np.maximum(headers["discard_post"], n_samples - n_on_arm)
    return replace(readouts, headers=headers, trajectory=trajectory)
