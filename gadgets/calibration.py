"""Calibration data of a k-space, and what was made of it, kept as long as it stays the same."""

from collections.abc import Callable
from typing import Generic, TypeVar

import torch

from gadgets.records import KSpace
from recon_core.calibration import calibration_block
from recon_core.errors import CalibrationError

Result = TypeVar("Result")


def calibration_of(kspace: KSpace) -> torch.Tensor:
    """`(coil, kz, ky, kx)`: the reference lines, or the fully sampled centre of the data themselves.

    Raises CalibrationError when there is neither.
    """
    if kspace.calibration is not None:
        return kspace.calibration
    block = calibration_block(kspace.sampled)
    if block is None:
        raise CalibrationError(
            "calibration: expected reference lines or a sampled centre of k-space, got neither"
        )
    return kspace.data[(slice(None), *block)]


def is_silent(kspace: KSpace) -> bool:
    """Whether there is no signal at all: nothing to calibrate from, and a black image."""
    # One channel settles it as a rule, at a fraction of the cost.
    return not bool(kspace.data[0].any()) and not bool(kspace.data.any())


class PerSlice(Generic[Result]):
    """One result for each slice, computed anew when the slice's calibration data have changed."""

    def __init__(self) -> None:
        self._results: dict[int, tuple[torch.Tensor, tuple[object, ...], Result]] = {}

    def get(
        self, kspace: KSpace, calibration: torch.Tensor, compute: Callable[[], Result], *also: object
    ) -> Result:
        """The result for this calibration and whatever else it depends on."""
        slice_number = int(kspace.header["idx"]["slice"])
        if slice_number in self._results:
            known, known_also, result = self._results[slice_number]
            if also == known_also and torch.equal(known, calibration):
                return result
        result = compute()
        self._results[slice_number] = calibration.clone(), also, result
        return result
