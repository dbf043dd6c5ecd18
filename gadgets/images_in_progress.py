"""The images of a scan that have begun and are not complete."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from gadgets.calibration_lines import CalibrationLines, Key
from gadgets.encoding_spaces import CALIBRATING, COUNTER_NAMES, EncodingSpaces, by_image, counters_of
from gadgets.external_calibration import ExternalCalibration, keep_calibration
from gadgets.gadget import Context
from gadgets.kspace_buffer import KSpaceBuffer
from gadgets.records import KSpace, Readouts
from gadgets.sampling_pattern import is_whole, missing_lines
from recon_core.errors import InputError

NOT_FOR_IMAGES = (
    "IS_NOISE_MEASUREMENT",
    "IS_NAVIGATION_DATA",
    "IS_PHASECORR_DATA",
    "IS_HPFEEDBACK_DATA",
    "IS_DUMMYSCAN_DATA",
    "IS_RTFEEDBACK_DATA",
    "IS_SURFACECOILCORRECTIONSCAN_DATA",
    "IS_PHASE_STABILIZATION_REFERENCE",
    "IS_PHASE_STABILIZATION",
)
COMPLETING = ("LAST_IN_SLICE", "LAST_IN_REPETITION", "LAST_IN_MEASUREMENT")
NO_FLAG_NOTE = "no last-in-slice flag: reconstructed when the stream ended"

NOT_COMPLETED_NOTE = "not completed by its last-in-slice flags: reconstructed when the stream ended"
LATE_AVERAGE_NOTE = (
    "average that came after its image was given out, not averaged: the header has no limit of `average`"
)
NO_SIGNAL_NOTE = "no signal: the image is black"


class ImagesInProgress:
    """Sorts readouts into one k-space per image and gives each out when it is complete."""

    def __init__(
        self,
        sort_by: Sequence[str],
        trigger: str | None,
        max_bytes: int,
        context: Context,
        keeps_calibration: bool = False,
    ) -> None:
        self._sort_by, self._trigger, self._max_bytes, self._context = sort_by, trigger, max_bytes, context
        self._key_columns = [COUNTER_NAMES.index(counter) for counter in sort_by]
        self._begun: dict[Key, KSpaceBuffer] = {}
        self._calibration = CalibrationLines(sort_by)
        self._external, self._keeps_calibration = ExternalCalibration(context), keeps_calibration
        self._spaces = EncodingSpaces(context)
        self._last_trigger: int | None = None
        self._is_flagged = False
        self._given_out: set[Key] = set()
        self._n_images = 0
        self._too_few = ""

    def add(self, block: Readouts) -> Iterator[KSpace]:
        """Take a block; yield the images it completes."""
        for run in self._uninterrupted(block):
            readouts = run
            if run.flagged(*NOT_FOR_IMAGES).any():
                readouts = run.select(~run.flagged(*NOT_FOR_IMAGES))
            if self._trigger is not None and len(readouts):
                yield from self._triggered(readouts)
            if len(readouts):
                for key, of_image in by_image(readouts, self._key_columns):
                    self._put(key, of_image)
            if self._trigger is None:
                yield from self._flagged_complete(run)

    def finish(self) -> Iterator[KSpace]:
        """Yield what the stream left open. Raises InputError when there was no image in it at all."""
        for key, image in list(self._begun.items()):
            if not _holds_centre(image):
                self._too_few = (
                    f", but {int(image.lines.sum())} lines that do not reach the centre of k-space"
                )
                self._context.logger.warning("image given up: it has only lines off the centre of k-space")
                continue
            if self._trigger is None:
                self._note(image, NOT_COMPLETED_NOTE if self._is_flagged else NO_FLAG_NOTE)
            yield self._complete(key)
        if not self._n_images:
            raise InputError(
                "Accumulate: expected imaging readouts, got no readouts that make an "
                f"image{self._too_few}; check that the scan was sent whole"
            )

    def _uninterrupted(self, block: Readouts) -> Iterator[Readouts]:
        """The block cut after readouts that may complete an image, or where the trigger's counter changes."""
        if self._trigger is None:
            ends = np.flatnonzero(block.flagged(*COMPLETING)) + 1
        else:
            values = counters_of(block)[:, COUNTER_NAMES.index(self._trigger)]
            ends = np.flatnonzero(values[1:] != values[:-1]) + 1
        if not len(ends):
            yield block
            return
        for start, stop in zip((0, *ends), (*ends, len(block)), strict=True):
            if start < stop:
                yield block.select(slice(start, stop))

    def _put(self, key: Key, readouts: Readouts) -> None:
        """Readouts of one image, to its k-space, its calibration lines, or both."""
        self._spaces.check(key[-1], readouts)
        if not readouts.flagged(*CALIBRATING).any():
            self._image(key, readouts).add(readouts)
            return
        calibrates = readouts.flagged(*CALIBRATING)
        self._buffer(self._calibration.begun, key, readouts).add(readouts.select(calibrates))
        imaging = readouts.flagged("IS_PARALLEL_CALIBRATION_AND_IMAGING") | ~calibrates
        if imaging.any():
            self._image(key, readouts).add(readouts.select(imaging))

    def _image(self, key: Key, readouts: Readouts) -> KSpaceBuffer:
        """The image of the readouts, with a note where they should have been averaged into one given out."""
        is_new = key not in self._begun
        image = self._buffer(self._begun, key, readouts)
        if is_new and key in self._given_out and readouts.headers["idx"]["average"][0]:
            self._note(image, LATE_AVERAGE_NOTE)
        return image

    def _buffer(self, begun: dict[Key, KSpaceBuffer], key: Key, readouts: Readouts) -> KSpaceBuffer:
        if key not in begun:
            encoding, n_coils = self._spaces[key[-1]], readouts.data.shape[1]
            all_begun = [*self._begun.values(), *self._calibration.begun.values()]
            n_bytes = sum(KSpaceBuffer.n_bytes(b.encoding, b.data.shape[2]) for b in all_begun)
            n_bytes += KSpaceBuffer.n_bytes(encoding, n_coils)
            if n_bytes > self._max_bytes:
                raise InputError(
                    f"Accumulate: expected images in progress of at most {self._max_bytes} bytes, got "
                    f"{n_bytes} for {len(all_begun) + 1} of {encoding.encoded_matrix} with {n_coils} "
                    "channels; raise max_bytes, or check the matrix size and the last-in-slice flags"
                )
            begun[key] = KSpaceBuffer(encoding, n_coils)
        return begun[key]

    def _triggered(self, readouts: Readouts) -> Iterator[KSpace]:
        assert self._trigger is not None
        value = int(counters_of(readouts)[0, COUNTER_NAMES.index(self._trigger)])
        if self._last_trigger not in (None, value):
            yield from [self._complete(key) for key in list(self._begun)]
        self._last_trigger = value

    def _flagged_complete(self, run: Readouts) -> Iterator[KSpace]:
        """The images that the last readout of a run completes."""
        last = run.select(slice(len(run) - 1, None))
        self._is_flagged |= bool(last.flagged(*COMPLETING)[0])
        if last.flagged("LAST_IN_MEASUREMENT")[0]:
            complete = list(self._begun)
        elif not last.flagged(*COMPLETING)[0] or not self._is_last_average(last):
            complete = []
        elif last.flagged("LAST_IN_REPETITION")[0]:
            complete = [key for key in self._begun if self._same_repetition(key, last)]
        else:
            key = self._key_of(last)
            complete = [key] if key in self._begun and self._is_whole(self._begun[key]) else []
        for key in complete:
            yield self._complete(key)

    def _key_of(self, readout: Readouts) -> Key:
        counters = counters_of(readout)[0, self._key_columns].tolist()
        return (*counters, int(readout.headers["encoding_space_ref"][0]))

    def _same_repetition(self, key: Key, readout: Readouts) -> bool:
        if "repetition" not in self._sort_by:
            return True
        column = self._sort_by.index("repetition")
        return key[column] == self._key_of(readout)[column]

    def _is_last_average(self, readout: Readouts) -> bool:
        """Whether every counter that is averaged over, `average` as a rule, has reached its limit."""
        limits = self._spaces[int(readout.headers["encoding_space_ref"][0])].limits
        counters = dict(zip(COUNTER_NAMES, counters_of(readout)[0].tolist(), strict=True))
        averaged = {"average", "slice", "contrast", "phase", "repetition", "set"} - set(self._sort_by)
        return all(name not in limits or counters[name] >= limits[name].maximum for name in averaged)

    def _is_whole(self, image: KSpaceBuffer) -> bool:
        """Whether all lines are there, as often as one another; asked in 3-D only, where every partition may
        have its last line."""
        n_averages = image.n_averages[image.lines]
        return image.data.shape[0] == 1 or (
            bool(n_averages.min() == n_averages.max()) and is_whole(image.lines, image.encoding)
        )

    def _complete(self, key: Key) -> KSpace:
        image = self._begun.pop(key)
        calibration = self._calibration.take(key, image, self._begun)
        if calibration is None and image.encoding.calibration_mode == "external":
            calibration = self._external.take(image)
        if self._keeps_calibration:
            keep_calibration(image, self._context)
        n_missing, n_expected = missing_lines(image.lines, image.encoding)
        if n_missing:
            self._note(image, f"{n_missing} of {n_expected} lines missing")
        data = image.recombined().to(self._context.device)
        if not image.data[:, :, 0].any() and not image.data.any():
            self._note(image, NO_SIGNAL_NOTE)
        self._n_images += 1
        if self._trigger is None and "average" not in (*self._sort_by, *image.encoding.limits):
            self._given_out.add(key)
        return KSpace(
            data=data,
            sampled=torch.from_numpy(image.sampled).to(data.device),
            header=image.nearest_to_centre(),
            encoding=image.encoding,
            calibration=None if calibration is None else calibration.to(data.device),
            notes=tuple(image.notes),
        )

    def _note(self, image: KSpaceBuffer, note: str) -> None:
        self._context.logger.warning(note)
        image.notes[note] = None


def _holds_centre(image: KSpaceBuffer) -> bool:
    """Whether there are lines on either side of the centre of k-space, as every image needs."""
    places = np.argwhere(image.lines)
    return all(
        n == 1 or along.min() <= n // 2 <= along.max()
        for n, along in zip(image.lines.shape, places.T, strict=True)
    )
