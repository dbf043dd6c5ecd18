"""The encodings of one scan, and what its readouts must keep to."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from gadgets.encoding import COUNTERS, Encoding, Limit
from gadgets.gadget import Context
from gadgets.records import Readouts
from recon_core.errors import InputError

COUNTER_NAMES = (*COUNTERS, *(f"user_{i}" for i in range(8)))
"""The columns of `counters_of`."""
CALIBRATING = ("IS_PARALLEL_CALIBRATION", "IS_PARALLEL_CALIBRATION_AND_IMAGING")

_IDX_AS_ARRAY = np.dtype((np.uint16, (len(COUNTER_NAMES),)))
_NO_LIMIT = Limit(0, np.iinfo(np.uint16).max, 0)


def counters_of(readouts: Readouts) -> npt.NDArray[np.uint16]:
    """`(readout, counter)` in the order of `COUNTER_NAMES`."""
    counters: npt.NDArray[np.uint16] = readouts.headers["idx"].view(_IDX_AS_ARRAY)
    return counters


def by_image(readouts: Readouts, columns: Sequence[int]) -> Iterator[tuple[tuple[int, ...], Readouts]]:
    """The readouts of each image, in the order in which images begin, with what tells it from others.

    That is its counters in the `columns` of `counters_of`, then its encoding space.
    """
    keys = np.column_stack([counters_of(readouts)[:, columns], readouts.headers["encoding_space_ref"]])
    if (keys == keys[0]).all():
        yield tuple(keys[0].tolist()), readouts
        return
    _, first, group = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    for number in np.argsort(first):
        which = group.reshape(-1) == number
        yield tuple(keys[first[number]].tolist()), readouts.select(which)


class EncodingSpaces:
    """The header's encodings by number, each with the shape its readouts began with.

    `gadget` is who asks, in errors; `is_cartesian` which trajectories it can reconstruct.
    """

    def __init__(self, context: Context, gadget: str = "Accumulate", is_cartesian: bool = True) -> None:
        self._context, self._gadget, self._is_cartesian = context, gadget, is_cartesian
        self._encodings: dict[int, Encoding] = {}
        self._minima: dict[int, npt.NDArray[np.uint16]] = {}
        self._maxima: dict[int, npt.NDArray[np.uint16]] = {}
        self._n_samples: dict[tuple[int, bool], int] = {}
        self._n_coils: int | None = None
        _ = self[0]  # what the header already rules out is refused before its data arrive

    def __getitem__(self, space: int) -> Encoding:
        """Raises InputError for an encoding that the header lacks or that is of the other kind."""
        if space not in self._encodings:
            encoding = Encoding.from_header(self._context.header, space)
            if (encoding.trajectory == "cartesian") != self._is_cartesian:
                wanted, other = (
                    ("a cartesian", "radial_sense or spiral_sense")
                    if self._is_cartesian
                    else ("a radial or spiral", "a cartesian recipe")
                )
                raise InputError(
                    f"{self._gadget}: expected {wanted} trajectory, got '{encoding.trajectory}' in encoding "
                    f"{space}; reconstruct it by {other}"
                )
            # Segments tell how a scan is played out, not where data belong, and few keep to their limits.
            limits = [encoding.limits.get(name, _NO_LIMIT) for name in COUNTERS if name != "segment"]
            self._minima[space] = np.array([limit.minimum for limit in limits], np.uint16)
            self._maxima[space] = np.array([limit.maximum for limit in limits], np.uint16)
            self._encodings[space] = encoding
        return self._encodings[space]

    def check(self, space: int, readouts: Readouts) -> None:
        """Raises InputError for a counter outside its limits or a channel or sample count that changed."""
        _, n_coils, n_samples = readouts.data.shape
        encoding = self[space]
        self._n_coils = self._n_coils or n_coils
        if n_coils != self._n_coils:
            self._refuse_change("channels", self._n_coils, n_coils, readouts)
        for calibrates_only in self._kinds(readouts):
            began_with = self._n_samples.setdefault((space, calibrates_only), n_samples)
            if n_samples != began_with:
                self._refuse_change("samples", began_with, n_samples, readouts)
        counters = counters_of(readouts)[:, : len(self._minima[space])]
        if (counters < self._minima[space]).any() or (counters > self._maxima[space]).any():
            is_wrong = (counters < self._minima[space]) | (counters > self._maxima[space])
            readout, column = np.argwhere(is_wrong)[0]
            limit = encoding.limits[COUNTERS[column]]
            raise InputError(
                f"{self._gadget}: expected {COUNTERS[column]} between its encoding limits {limit.minimum} "
                f"and {limit.maximum}, got {counters[readout, column]} at scan counter "
                f"{readouts.headers['scan_counter'][readout]}; correct encodingLimits in the header"
            )

    @staticmethod
    def _kinds(readouts: Readouts) -> set[bool]:
        """Whether readouts are for calibration only: reference lines may be of another length."""
        calibrates_only = readouts.flagged(CALIBRATING[0]) & ~readouts.flagged(CALIBRATING[1])
        return set(calibrates_only.tolist()) if calibrates_only.any() else {False}

    def _refuse_change(self, what: str, expected: int, got: int, readouts: Readouts) -> None:
        raise InputError(
            f"{self._gadget}: expected readouts of {expected} {what} as the scan began, got {got} at scan "
            f"counter {readouts.headers['scan_counter'][0]}; send scans of different shape as separate scans "
            "or encodings"
        )
