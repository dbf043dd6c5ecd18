"""Readouts into k-space: the step every Cartesian reconstruction begins with."""

from collections.abc import Iterable, Iterator
from typing import Literal

from gadgets.gadget import Context, Gadget
from gadgets.images_in_progress import ImagesInProgress
from gadgets.records import KSpace, Readouts

Counter = Literal[
    "average",
    "slice",
    "contrast",
    "phase",
    "repetition",
    "set",
    "segment",
    "user_0",
    "user_1",
    "user_2",
    "user_3",
    "user_4",
    "user_5",
    "user_6",
    "user_7",
]


class Accumulate(Gadget, frozen=True):
    """Collect the readouts of each image, put them in place on the encoded grid, and emit it once complete.

    *Place.* A line goes to ``step - limits.center + n // 2``, a sample to where `center_sample` falls on
    ``n // 2``: an asymmetric echo leaves the rest of its line unsampled. `discard_pre` and `discard_post` are
    left out. A readout flagged REVERSE is flipped first and is then as any other; `center_sample` counts on
    the flipped one. Lines acquired more than once (averages) are averaged. Segments play no part.

    *Calibration.* Lines flagged PARALLEL_CALIBRATION calibrate, those flagged
    PARALLEL_CALIBRATION_AND_IMAGING are of the image as well. So are the former where the header's
    calibration mode is `embedded`, which makes them lines of the same scan: an image takes those that have
    its counters and its samples along kx and are not among its lines yet. In any other mode, or without one,
    they may differ in contrast, and only calibrate. An image without calibration lines of its own is
    calibrated by the latest ones of its slice, from another repetition, contrast or encoding space too. Where
    the mode is `external`, what an earlier scan of the study left by `keep_calibration` takes their place, if
    it had the same coils and lies where the image does; what was taken, or found wanting, is noted.

    *Complete* is an image at LAST_IN_SLICE (of the last average; in 3-D once no line is missing), at
    LAST_IN_REPETITION or LAST_IN_MEASUREMENT, else at the end of the stream, which is noted. The last
    average is told by the header's limit of `average`; without one the image goes out at the first flag, and
    an average that comes later is an image of its own, which is noted. With `trigger`, images are complete
    when that counter changes, and the flags are not looked at.

    Dropped: readouts flagged as noise, navigation, phase correction, feedback, dummy, surface coil correction
    or phase stabilisation. The coil matrix is applied to the finished k-space.
    An image whose samples are all zero is noted.

    Raises InputError for a trajectory that is not Cartesian, a counter outside its limits, a channel or
    sample count that changes, NaN or Inf, more memory than `max_bytes`, and no imaging readouts.
    """

    accepts = Readouts
    emits = KSpace

    sort_by: tuple[Counter, ...] = ("slice", "contrast", "phase", "repetition", "set")
    """Counters that tell images apart; lines that differ in another, such as `average`, are averaged."""
    trigger: Counter | None = None
    """A counter whose every change completes all images begun; none for the flags."""
    max_bytes: int = 8 << 30
    """Memory that images begun and not yet complete may take together."""
    keep_calibration: bool = False
    """Leave the centre of every image to later scans of the study whose calibration is external."""

    def __call__(self, items: Iterable[Readouts], context: Context) -> Iterator[KSpace]:
        images = ImagesInProgress(self.sort_by, self.trigger, self.max_bytes, context, self.keep_calibration)
        for block in items:
            yield from images.add(block)
        yield from images.finish()
