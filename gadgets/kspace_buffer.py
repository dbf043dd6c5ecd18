"""The k-space of one image while its readouts arrive."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from gadgets.encoding import Encoding
from gadgets.records import HEADER_DTYPE, Readouts
from recon_core.errors import InputError

_OPAQUE = np.dtype((np.void, HEADER_DTYPE.itemsize))
"""numpy copies headers eight times faster when it does not look into them."""


class _Window(NamedTuple):
    """Where the samples of a readout go along kx."""

    center_sample: int
    discard_pre: int
    discard_post: int
    is_reverse: int


class KSpaceBuffer:
    """Readouts of one image put in their places on the encoded grid; repeated samples are averaged.

    Kept as `(kz, ky, coil, kx)`, so that every readout is one piece of memory. A line may come in pieces
    along kx, so that each sample has a count of its own.
    """

    def __init__(self, encoding: Encoding, n_coils: int) -> None:
        n_x, n_y, n_z = encoding.encoded_matrix
        self.encoding = encoding
        self.data: npt.NDArray[np.complex64] = np.zeros((n_z, n_y, n_coils, n_x), np.complex64)
        self.counts: npt.NDArray[np.uint16] = np.zeros((n_z, n_y, n_x), np.uint16)
        self.n_averages: npt.NDArray[np.uint16] = np.zeros((n_z, n_y), np.uint16)
        self.notes: dict[str, None] = {}
        self.coil_matrix: torch.Tensor | None = None
        self._headers = np.zeros((n_z, n_y), HEADER_DTYPE)

    @staticmethod
    def n_bytes(encoding: Encoding, n_coils: int) -> int:
        """What a buffer takes in memory."""
        n_x, n_y, n_z = encoding.encoded_matrix
        return n_z * n_y * (n_x * (8 * n_coils + 2) + HEADER_DTYPE.itemsize + 2)

    @property
    def lines(self) -> npt.NDArray[np.bool_]:
        """`(kz, ky)`: which lines have been acquired."""
        return self.n_averages > 0

    @property
    def sampled(self) -> npt.NDArray[np.bool_]:
        """`(kz, ky, kx)`: which samples have been acquired."""
        return self.counts > 0

    def add(self, readouts: Readouts) -> None:
        """Place readouts of one shape. Raises InputError for a line or a sample outside the grid."""
        self.notes.update(dict.fromkeys(readouts.notes))
        self.coil_matrix = readouts.coil_matrix
        z = self._places(readouts, "kspace_encode_step_2", self.data.shape[0])
        y = self._places(readouts, "kspace_encode_step_1", self.data.shape[1])
        window = _windows(readouts)
        if len(z) == 1 or (_is_increasing(z * self.data.shape[1] + y) and (window == window[0]).all()):
            self._add_once(readouts, z, y, _Window(*window[0].tolist()))
            return
        for which in _distinct(z * self.data.shape[1] + y, window):
            self._add_once(readouts.select(which), z[which], y[which], _Window(*window[which[0]].tolist()))

    def nearest_to_centre(self) -> np.void:
        """The header of the readout nearest to the centre of k-space."""
        z, y = np.nonzero(self.lines)
        distance = (z - self.data.shape[0] // 2) ** 2 + (y - self.data.shape[1] // 2) ** 2
        nearest = int(distance.argmin())
        header: np.void = self._headers[z[nearest], y[nearest]]
        return header.copy()

    def averaged(self) -> npt.NDArray[np.complex64]:
        """The data `(kz, ky, coil, kx)`. Raises InputError naming the line that holds NaN or Inf."""
        # A sum over everything is the cheapest way to see that nothing is wrong.
        with np.errstate(invalid="ignore", over="ignore"):
            is_suspect = not np.isfinite(self.data.view(np.float32).sum())
        if is_suspect:
            self._refuse_non_finite()
        if self.n_averages.max(initial=0) > 1:
            if self.counts.max() > 1:
                self.data /= np.maximum(self.counts, 1)[:, :, None].astype(np.float32)
            self.counts = self.sampled.astype(np.uint16)
            self.n_averages = self.lines.astype(np.uint16)
        return self.data

    def recombined(self, block: tuple[slice, slice, slice] = (slice(None),) * 3) -> torch.Tensor:
        """The averaged data `(coil, kz, ky, kx)`, or a block of them, with the coil matrix applied."""
        z, y, x = block
        data = torch.from_numpy(self.averaged()[z, y, :, x])
        if self.coil_matrix is not None:
            data = torch.matmul(self.coil_matrix.cpu(), data)
        return data.movedim(2, 0)

    def take_over(self, other: "KSpaceBuffer", which: npt.NDArray[np.bool_]) -> None:
        """Lines `(kz, ky)` of another buffer on the same grid in place of the own, averaged."""
        self.averaged()[which] = other.averaged()[which]
        self.counts[which] = other.counts[which]
        self.n_averages[which] = other.n_averages[which]
        self._headers[which] = other._headers[which]

    def _add_once(
        self, readouts: Readouts, z: npt.NDArray[np.intp], y: npt.NDArray[np.intp], window: _Window
    ) -> None:
        """Add readouts that all go to different lines and the same samples."""
        columns, samples = self._along_x(readouts, window)
        is_new = self.n_averages[z, y] == 0
        if is_new.all():
            self.data[z, y, :, columns] = samples
        else:
            again = ~is_new
            self.data[z[is_new], y[is_new], :, columns] = samples[is_new]
            self.data[z[again], y[again], :, columns] += samples[again]
        self.counts[z, y, columns] += 1
        self.n_averages[z, y] += 1
        self._headers.view(_OPAQUE)[z, y] = readouts.headers.view(_OPAQUE)

    def _along_x(self, readouts: Readouts, window: _Window) -> tuple[slice, npt.NDArray[np.complex64]]:
        samples, n_x = readouts.data, self.data.shape[3]
        n_samples = samples.shape[2]
        centre, pre, post, is_reverse = window
        if is_reverse:
            samples, pre, post = samples[:, :, ::-1], post, pre
        if centre == 0 and n_samples == n_x:
            centre = n_x // 2  # a whole readout cannot start at k = 0: the field was never filled in
        start, stop = n_x // 2 - centre + pre, n_x // 2 - centre + n_samples - post
        if start < 0 or stop > n_x or start >= stop:
            raise InputError(
                f"Accumulate: expected readouts that fit the encoded matrix of {n_x} samples, got "
                f"number_of_samples {n_samples}, center_sample {centre}, discard_pre {window.discard_pre}, "
                f"discard_post {window.discard_post} at scan counter {readouts.headers['scan_counter'][0]}; "
                "correct encodedSpace.matrixSize.x or the readouts"
            )
        return slice(start, stop), samples[:, :, pre : n_samples - post]

    def _places(self, readouts: Readouts, counter: str, n: int) -> npt.NDArray[np.intp]:
        """Where lines go along one axis: the limits' centre at n // 2, or as counted where there are none."""
        limit = self.encoding.limits.get(counter)
        steps = readouts.headers["idx"][counter].astype(np.intp)
        places: npt.NDArray[np.intp] = steps - limit.center + n // 2 if limit else steps
        if places.min() < 0 or places.max() >= n:
            wrong = int(np.flatnonzero((places < 0) | (places >= n))[0])
            centre = f"limits with centre {limit.center}" if limit else "no limits"
            raise InputError(
                f"Accumulate: expected a {counter} inside the encoded matrix of {n} ({centre}), got "
                f"{steps[wrong]} at scan counter {readouts.headers['scan_counter'][wrong]}; "
                "correct encodedSpace.matrixSize or encodingLimits"
            )
        return places

    def _refuse_non_finite(self) -> None:
        is_broken = ~np.isfinite(self.data).all(axis=(2, 3))
        if is_broken.any():
            z, y = np.argwhere(is_broken)[0]
            header = self._headers[z, y]
            idx = header["idx"]
            raise InputError(
                f"Accumulate: expected finite samples, got NaN or Inf in the line of kspace_encode_step_1 "
                f"{idx['kspace_encode_step_1']}, kspace_encode_step_2 {idx['kspace_encode_step_2']}, slice "
                f"{idx['slice']} (scan counter {header['scan_counter']}); remove the readout or send it again"
            )


def _windows(readouts: Readouts) -> npt.NDArray[np.int64]:
    """`(readout, 4)`: the fields of `_Window`."""
    headers = readouts.headers
    windows = np.empty((len(headers), 4), np.int64)
    for column, name in enumerate(_Window._fields[:3]):
        windows[:, column] = headers[name]
    windows[:, 3] = readouts.flagged("IS_REVERSE")
    return windows


def _is_increasing(places: npt.NDArray[np.intp]) -> bool:
    return bool((places[1:] > places[:-1]).all())


def _distinct(places: npt.NDArray[np.intp], windows: npt.NDArray[Any]) -> list[npt.NDArray[np.intp]]:
    """Readouts in groups of one window and no line twice, a line's readouts in the order they came."""
    occurrence = np.zeros(len(places), np.intp)
    seen: dict[int, int] = {}
    for i, place in enumerate(places.tolist()):
        occurrence[i] = seen[place] = seen.get(place, -1) + 1
    keys = np.column_stack([occurrence, windows])
    _, group = np.unique(keys, axis=0, return_inverse=True)
    return [np.flatnonzero(group.reshape(-1) == number) for number in range(int(group.max()) + 1)]
