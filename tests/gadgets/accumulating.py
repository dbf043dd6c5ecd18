"""Accumulated images of a small scan, for the tests of what `Accumulate` is made of."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from gadgets.accumulate import Accumulate
from gadgets.gadget import Context
from gadgets.records import KSpace, Readouts
from tests.gadgets.small_scan import Array, context, encoding, flagged, random_complex, readouts, with_header

N_COILS, N_Y, N_X = 3, 12, 16
KSPACE = random_complex((N_COILS, 1, N_Y, N_X))
ENCODING = encoding(
    (N_X, N_Y, 1), limits={"slice": (0, 3, 0), "repetition": (0, 3, 0), "contrast": (0, 1, 0)}
)


def accumulated(
    blocks: Iterable[Readouts], scan: Context | str = ENCODING, **parameters: Any
) -> list[KSpace]:
    scan = context(scan) if isinstance(scan, str) else scan
    return list(Accumulate(**parameters)(blocks, scan))


def lines(*steps: int) -> list[tuple[int, int]]:
    return [(0, y) for y in steps]


def averages(n: int) -> tuple[list[Readouts], Array]:
    data = [random_complex(KSPACE.shape, number) for number in range(n)]
    return [readouts(one, average=number) for number, one in enumerate(data)], np.mean(data, axis=0)


def reference(seed: int, encoding_space: int = 0, width: int = N_Y, **counters: int) -> Readouts:
    """Lines that only calibrate, made with a seed of their own."""
    data = random_complex((N_COILS, 1, width, N_X), seed)
    block = flagged(readouts(data, **counters), slice(None), "IS_PARALLEL_CALIBRATION")
    return with_header(block, encoding_space_ref=encoding_space)
