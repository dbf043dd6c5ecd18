"""The navigators of a scan."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from gadgets.records import Readouts
from gadgets.sequence_parameters import repetition_time_ms
from recon_core.errors import InputError

TICK_S = 0.0025
"""Of MRD's time stamps."""


class Navigators:
    """The readouts flagged IS_NAVIGATION_DATA, in the order they came. `where` is who asks, in errors."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._blocks: list[Readouts] = []
        self._n = 0

    def __len__(self) -> int:
        return self._n

    def add(self, block: Readouts) -> None:
        """Take the navigators of a block. Raises InputError for one of another shape than those before."""
        own = block.select(block.flagged("IS_NAVIGATION_DATA"))
        if not len(own):
            return
        if self._blocks and own.data.shape[1:] != self._blocks[0].data.shape[1:]:
            raise InputError(
                f"{self._where}: expected navigators of {self._blocks[0].data.shape[1:]} (coil, sample) as "
                f"the scan began, got {own.data.shape[1:]} at scan counter {own.headers['scan_counter'][0]}; "
                "leave these readouts out"
            )
        self._blocks.append(own)
        self._n += len(own)

    def of_slice(self, number: int) -> "Navigators":
        """Those of one slice."""
        own = Navigators(self._where)
        for block in self._blocks:
            own.add(block.select(block.headers["idx"]["slice"] == number))
        return own

    def headers(self) -> npt.NDArray[np.void]:
        """`(navigator,)`. Raises InputError where there are none."""
        if not self._blocks:
            raise InputError(
                f"{self._where}: expected navigators, readouts flagged IS_NAVIGATION_DATA, got none; put "
                "FindNavigators in front where one line of k-space repeats, or choose radial_sense"
            )
        return np.concatenate([block.headers for block in self._blocks])

    def courses(self, start: int = 0) -> torch.Tensor:
        """`(time, 2 coil sample)` from number `start` on: whitened, real parts, then imaginary parts.

        Raises InputError where they are missing or not finite.
        """
        blocks, n_before = [], 0
        for block in self._blocks:
            if n_before + len(block) > start:
                blocks.append(block.select(slice(max(0, start - n_before), None)))
            n_before += len(block)
        headers = np.concatenate([block.headers for block in blocks]) if blocks else self.headers()
        data = torch.from_numpy(np.concatenate([block.data for block in blocks]))
        matrix = self._blocks[-1].coil_matrix
        whitened = data if matrix is None else torch.matmul(matrix.cpu(), data)
        flat = torch.view_as_real(whitened).flatten(1, 2)
        is_finite = torch.isfinite(flat).flatten(1).all(1)
        if not bool(is_finite.all()):
            counter = headers["scan_counter"][int((~is_finite).long().argmax())]
            raise InputError(
                f"{self._where}: expected finite navigators, got NaN or Inf at scan counter {counter}; "
                "remove the readout or send it again"
            )
        return flat.movedim(-1, 1).flatten(1)

    @property
    def noise_std(self) -> float:
        """Of a real or an imaginary part: known once readouts are whitened, else 0."""
        return 0.0 if self._blocks[-1].coil_matrix is None else 0.5**0.5


def times_s(headers: npt.NDArray[np.void], first_counter: int, header: Any, where: str) -> torch.Tensor:
    """`(readout,)` float64: by the time stamps, or, where these stand still, the scan counter times TR."""
    stamps = torch.from_numpy(headers["acquisition_time_stamp"].astype(np.float64))
    if float(stamps[-1]) > float(stamps[0]):
        return TICK_S * stamps
    counters = torch.from_numpy(headers["scan_counter"].astype(np.float64)) - first_counter
    return 1e-3 * repetition_time_ms(where, header) * counters
