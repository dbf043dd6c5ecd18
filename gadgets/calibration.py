"""Calibration data of a k-space, and what was made of it, kept as long as it stays the same."""

from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

import torch

from gadgets.records import AnyKSpace, NonCartesianKSpace
from gadgets.results_of_study import ResultsOfStudy
from recon_core.calibration import calibration_block
from recon_core.coils.gridded_calibration import gridded_calibration
from recon_core.errors import CalibrationError
from recon_core.noise_level import estimated_noise_std

Result = TypeVar("Result")


def calibration_of(kspace: AnyKSpace) -> torch.Tensor:
    """`(coil, kz, ky, kx)`: the reference lines, or the fully sampled centre of the data themselves.

    Off the grid, the densely sampled centre brought onto it. Raises CalibrationError when there is none.
    """
    if isinstance(kspace, NonCartesianKSpace):
        return gridded_calibration(kspace.data, kspace.trajectory, kspace.shape)
    if kspace.calibration is not None:
        return kspace.calibration
    block = calibration_block(kspace.sampled)
    if block is None:
        raise CalibrationError(
            "calibration: expected reference lines or a sampled centre of k-space, got neither"
        )
    return kspace.data[(slice(None), *block)]


def noise_level(kspace: AnyKSpace) -> torch.Tensor | None:
    """() standard deviation of a sample's noise, of a volume from the plane x = 0; None off the grid."""
    if isinstance(kspace, NonCartesianKSpace):
        return None
    calibration = kspace.calibration
    return estimated_noise_std(
        _plane(kspace.data), _plane(kspace.sampled), None if calibration is None else _plane(calibration)
    )


def _plane(array: torch.Tensor) -> torch.Tensor:
    """`(*, ky, kx)` of `(*, 1, ky, kx)`, else `(*, kz, ky)` at x = 0."""
    if array.shape[-3] == 1:
        return array.squeeze(-3)
    if array.dtype == torch.bool:
        return array.any(-1)
    plane: torch.Tensor = array.sum(-1) / array.shape[-1] ** 0.5
    return plane


def is_silent(kspace: AnyKSpace) -> bool:
    """Whether there is no signal at all: nothing to calibrate from, and a black image."""
    # One channel settles it as a rule, at a fraction of the cost.
    return not bool(kspace.data[0].any()) and not bool(kspace.data.any())


N_KEPT = 256
"""Results kept at a time, the oldest forgotten first; one where the header lets no slice come twice."""


class _Entry(NamedTuple, Generic[Result]):
    calibration: torch.Tensor
    also: tuple[object, ...]
    result: Result


class PerSlice(Generic[Result]):
    """One result for each slice, contrast and set, computed anew when the calibration data have changed.

    Contrasts and sets of one slice share results where they share calibration data; scans of one study where
    these are external, in `of_study`.
    """

    def __init__(self, of_study: ResultsOfStudy[Result] | None = None) -> None:
        self._results: dict[tuple[int, int, int], _Entry[Result]] = {}
        self._of_study = of_study

    def get(
        self, kspace: AnyKSpace, calibration: torch.Tensor, compute: Callable[[], Result], *also: object
    ) -> Result:
        """The result for this calibration and whatever else it depends on."""
        idx = kspace.header["idx"]
        key = int(idx["slice"]), int(idx["contrast"]), int(idx["set"])
        of_slice = [entry for other, entry in self._results.items() if other[0] == key[0]]
        for entry in of_slice:
            if also == entry.also and torch.equal(entry.calibration, calibration):
                return entry.result
        if self._of_study and kspace.encoding.calibration_mode == "external":
            result = self._of_study.get(calibration, compute, *also)
        else:
            result = compute()
        self._results.pop(key, None)
        self._results[key] = _Entry(calibration.clone(), also, result)
        if len(self._results) > (N_KEPT if _may_come_again(kspace) else 1):
            self._results.pop(next(iter(self._results)))
        return result


def _may_come_again(kspace: AnyKSpace) -> bool:
    limits = kspace.encoding.limits
    return any(
        limits[name].maximum > limits[name].minimum
        for name in ("average", "contrast", "phase", "repetition", "set")
        if name in limits
    )
