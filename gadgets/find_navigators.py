"""Navigators that their scanner does not flag."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from gadgets.gadget import Context, Gadget
from gadgets.images_in_progress import NOT_FOR_IMAGES
from gadgets.records import FLAG_BITS, Readouts

N_LOOKED_AT = 16
"""Imaging readouts among which a repeated one is looked for; golden angles do not come back so soon."""
TOLERANCE = 1e-3
"""Cycles per field of view."""


class FindNavigators(Gadget, frozen=True):
    """Flag readouts that measure the same line of k-space over and over as IS_NAVIGATION_DATA.

    A line that a quarter of the first 16 readouts share is the navigators'. Where readouts are flagged
    already, and where none repeats or no trajectory is sent, all pass as they are.
    """

    accepts = Readouts
    emits = Readouts

    def __call__(self, items: Iterable[Readouts], context: Context) -> Iterator[Readouts]:
        held: list[Readouts] | None = []
        line: npt.NDArray[np.float32] | None = None
        for block in items:
            if held is None:
                yield _flagged(block, line)
                continue
            held.append(block)
            imaging = [one.select(~one.flagged(*NOT_FOR_IMAGES)) for one in held]
            is_known = any(one.flagged("IS_NAVIGATION_DATA").any() for one in held)
            if is_known or sum(map(len, imaging)) >= N_LOOKED_AT:
                line = None if is_known else _repeated_line(imaging)
                if line is not None:
                    context.logger.info("navigators: readouts that repeat one line of k-space")
                yield from [_flagged(one, line) for one in held]
                held = None
        yield from held or ()


def _repeated_line(blocks: list[Readouts]) -> npt.NDArray[np.float32] | None:
    """(sample, dimension) of the line that enough of the first readouts share, if there is one."""
    lines: list[npt.NDArray[np.float32]] = [line for block in blocks for line in block.trajectory]
    lines = lines[:N_LOOKED_AT]
    for line in lines:
        n_same = sum(other.shape == line.shape and _is_same(other, line) for other in lines)
        if line.any() and n_same >= N_LOOKED_AT // 4:
            return line
    return None


def _flagged(block: Readouts, line: npt.NDArray[np.float32] | None) -> Readouts:
    if line is None or block.trajectory.shape[1:] != line.shape:
        return block
    is_navigator = np.array([_is_same(other, line) for other in block.trajectory])
    headers = block.headers.copy()
    headers["flags"][is_navigator] |= np.uint64(FLAG_BITS["IS_NAVIGATION_DATA"])
    return replace(block, headers=headers)


def _is_same(line: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> bool:
    return bool(np.abs(line - other).max() <= TOLERANCE)
