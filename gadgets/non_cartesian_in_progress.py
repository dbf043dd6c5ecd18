"""The images of a non-Cartesian scan that have begun and are not complete."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import torch

from gadgets.calibration_lines import Key
from gadgets.encoding import Encoding
from gadgets.encoding_spaces import COUNTER_NAMES, EncodingSpaces, by_image, counters_of
from gadgets.gadget import Context
from gadgets.images_in_progress import (
    COMPLETING,
    NO_FLAG_NOTE,
    NO_SIGNAL_NOTE,
    NOT_COMPLETED_NOTE,
    NOT_FOR_IMAGES,
)
from gadgets.records import NonCartesianKSpace, Readouts
from recon_core.errors import InputError

STEPS = ("kspace_encode_step_1", "kspace_encode_step_2")


class NonCartesianInProgress:
    """Sorts readouts by image and gives each image out when it is complete."""

    def __init__(self, sort_by: Sequence[str], max_bytes: int, context: Context) -> None:
        self._sort_by, self._max_bytes, self._context = sort_by, max_bytes, context
        self._key_columns = [COUNTER_NAMES.index(counter) for counter in sort_by]
        self._spaces = EncodingSpaces(context, "AccumulateNonCartesian", is_cartesian=False)
        self._begun: dict[Key, list[Readouts]] = {}
        self._n_bytes = 0
        self._is_flagged = False
        self._n_images = 0

    def add(self, block: Readouts) -> Iterator[NonCartesianKSpace]:
        """Take a block; yield the images it completes."""
        ends = np.flatnonzero(block.flagged(*COMPLETING)) + 1
        for start, stop in pairwise(sorted({0, *ends.tolist(), len(block)})):
            run = block.select(slice(start, stop))
            imaging = run.select(~run.flagged(*NOT_FOR_IMAGES))
            if len(imaging):
                for key, of_image in by_image(imaging, self._key_columns):
                    self._put(key, of_image)
            yield from self._flagged_complete(run.select(slice(len(run) - 1, None)))

    def finish(self) -> Iterator[NonCartesianKSpace]:
        """Yield what the stream left open. Raises InputError when there was no image in it at all."""
        note = NOT_COMPLETED_NOTE if self._is_flagged else NO_FLAG_NOTE
        for key in list(self._begun):
            yield self._complete(key, note)
        if not self._n_images:
            raise InputError(
                "AccumulateNonCartesian: expected imaging readouts, got none; check that the scan was sent "
                "whole"
            )

    def _put(self, key: Key, readouts: Readouts) -> None:
        self._spaces.check(key[-1], readouts)
        if not readouts.trajectory.shape[2]:
            raise InputError(
                "AccumulateNonCartesian: expected readouts with a trajectory, got none at scan counter "
                f"{readouts.headers['scan_counter'][0]}; put the gadget Trajectory in front"
            )
        self._n_bytes += readouts.data.nbytes + readouts.trajectory.nbytes
        if self._n_bytes > self._max_bytes:
            raise InputError(
                f"AccumulateNonCartesian: expected images in progress of at most {self._max_bytes} bytes, "
                f"got {self._n_bytes} for {len(self._begun)}; raise max_bytes, or check the flags"
            )
        self._begun.setdefault(key, []).append(readouts)

    def _flagged_complete(self, last: Readouts) -> Iterator[NonCartesianKSpace]:
        """The images that a readout completes."""
        self._is_flagged |= bool(last.flagged(*COMPLETING)[0])
        if last.flagged("LAST_IN_MEASUREMENT")[0]:
            complete = list(self._begun)
        elif not last.flagged(*COMPLETING)[0] or not self._is_last_pooled(last):
            complete = []
        else:
            own = (
                *counters_of(last)[0, self._key_columns].tolist(),
                int(last.headers["encoding_space_ref"][0]),
            )
            if last.flagged("LAST_IN_REPETITION")[0]:
                complete = [key for key in self._begun if self._same_repetition(key, own)]
            else:
                complete = [own] if own in self._begun and self._is_whole(own) else []
        for key in complete:
            yield self._complete(key)

    def _is_last_pooled(self, last: Readouts) -> bool:
        """Whether every counter that is pooled has reached its limit; without one, averages are not waited
        for, and of others the end of the scan has to tell."""
        limits = self._spaces[int(last.headers["encoding_space_ref"][0])].limits
        counters = dict(zip(COUNTER_NAMES, counters_of(last)[0].tolist(), strict=True))
        pooled = {"average", "slice", "contrast", "phase", "repetition", "set"} - set(self._sort_by)
        return all(
            counters[name] >= limits[name].maximum if name in limits else name == "average" for name in pooled
        )

    def _same_repetition(self, key: Key, other: Key) -> bool:
        if "repetition" not in self._sort_by:
            return True
        column = self._sort_by.index("repetition")
        return key[column] == other[column]

    def _is_whole(self, key: Key) -> bool:
        """Asked in 3-D only, where every partition may have its last readout."""
        return self._spaces[key[-1]].encoded_matrix[2] == 1 or not self._n_missing(key)[0]

    def _n_missing(self, key: Key) -> tuple[int, int]:
        """How many readouts of the encoding limits are not there, and how many should be."""
        limits = self._spaces[key[-1]].limits
        lengths = [limits[step].maximum - limits[step].minimum + 1 if step in limits else 1 for step in STEPS]
        columns = [COUNTER_NAMES.index(step) for step in STEPS if step in limits]
        steps = np.concatenate([counters_of(readouts)[:, columns] for readouts in self._begun[key]])
        n_expected = math.prod(lengths)
        return max(n_expected - len(np.unique(steps, axis=0)), 0) if columns else 0, n_expected

    def _complete(self, key: Key, *notes: str) -> NonCartesianKSpace:
        n_missing, n_expected = self._n_missing(key)
        if n_missing:
            notes = (*notes, f"{n_missing} of {n_expected} readouts missing")
        blocks = self._begun.pop(key)
        self._n_bytes -= sum(block.data.nbytes + block.trajectory.nbytes for block in blocks)
        kspace = kspace_of(blocks, self._spaces[key[-1]], self._context.device)
        if not bool(kspace.data.any()):
            notes = (*notes, NO_SIGNAL_NOTE)
        for note in notes:
            self._context.logger.warning(note)
        self._n_images += 1
        return replace(kspace, notes=tuple(dict.fromkeys((*kspace.notes, *notes))))


def kspace_of(blocks: Sequence[Readouts], encoding: Encoding, device: torch.device) -> NonCartesianKSpace:
    """The samples of readouts with their coil matrix applied, and their notes.

    Raises InputError for samples that are not finite.
    """
    return NonCartesianKSpace(
        data=_recombined(blocks).to(device),
        trajectory=_trajectory(blocks).to(device),
        headers=np.concatenate([block.headers for block in blocks]),
        header=blocks[0].headers[0].copy(),
        encoding=_of_image(encoding),
        notes=tuple(dict.fromkeys(note for block in blocks for note in block.notes)),
    )


def _of_image(encoding: Encoding) -> Encoding:
    """With the grid of the image as the encoded one: as reconstructed in plane, as encoded along z."""
    matrix, fov_mm = encoding.recon_matrix, encoding.recon_fov_mm
    return replace(
        encoding,
        encoded_matrix=(*matrix[:2], encoding.encoded_matrix[2]),
        encoded_fov_mm=(*fov_mm[:2], encoding.encoded_fov_mm[2]),
    )


def _kept(blocks: Sequence[Readouts]) -> slice:
    """The samples that no readout discards."""
    headers = np.concatenate([block.headers for block in blocks])
    n_samples = blocks[0].data.shape[2]
    return slice(int(headers["discard_pre"].max()), n_samples - int(headers["discard_post"].max()))


def _recombined(blocks: Sequence[Readouts]) -> torch.Tensor:
    """`(coil, readout, sample)` with the coil matrix applied. Raises InputError where data are not finite."""
    kept = _kept(blocks)  # once: there may be as many blocks as readouts
    data = torch.from_numpy(np.concatenate([block.data[..., kept] for block in blocks]))
    is_finite = torch.isfinite(torch.view_as_real(data)).flatten(1).all(1)
    if not bool(is_finite.all()):
        counters = np.concatenate([block.headers["scan_counter"] for block in blocks])
        raise InputError(
            "AccumulateNonCartesian: expected finite samples, got NaN or Inf at scan counter "
            f"{counters[int((~is_finite).long().argmax())]}; remove the readout or send it again"
        )
    matrix = blocks[-1].coil_matrix
    if matrix is not None:
        data = torch.matmul(matrix.cpu(), data)
    return data.movedim(1, 0).contiguous()


def _trajectory(blocks: Sequence[Readouts]) -> torch.Tensor:
    """`(readout, sample, dimension)`"""
    kept = _kept(blocks)
    return torch.from_numpy(np.concatenate([block.trajectory[:, kept] for block in blocks]))
