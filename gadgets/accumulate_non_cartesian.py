"""Readouts off the grid into the samples of one image."""

from collections.abc import Iterable, Iterator

from gadgets.accumulate import Counter
from gadgets.gadget import Context, Gadget
from gadgets.non_cartesian_in_progress import NonCartesianInProgress
from gadgets.records import NonCartesianKSpace, Readouts


class AccumulateNonCartesian(Gadget, frozen=True):
    """Collect the readouts of each image with their trajectories, and emit them once complete.

    The image's grid is the reconstructed matrix in plane and the encoded one along z; all samples are kept,
    those of an oversampled readout too, for they are where their trajectory says. `discard_pre` and
    `discard_post` are left out.

    *Complete* is an image at LAST_IN_SLICE (in 3-D once no readout is missing), at LAST_IN_REPETITION or
    LAST_IN_MEASUREMENT, once counters that are pooled have reached their limits, else at the end of the
    stream, which is noted, as missing readouts are.

    Dropped: readouts flagged as noise, navigation, phase correction, feedback, dummy, surface coil correction
    or phase stabilisation. The coil matrix is applied to the finished samples.

    Raises InputError for a Cartesian header, readouts without trajectory, a counter outside its limits, a
    channel or sample count that changes, NaN or Inf, more memory than `max_bytes`, and no imaging readouts.
    """

    accepts = Readouts
    emits = NonCartesianKSpace

    sort_by: tuple[Counter, ...] = ("slice", "contrast", "phase", "repetition", "set")
    """Counters that tell images apart; readouts that differ in another are pooled into one image."""
    max_bytes: int = 8 << 30
    """Memory that images begun and not yet complete may take together."""

    def __call__(self, items: Iterable[Readouts], context: Context) -> Iterator[NonCartesianKSpace]:
        images = NonCartesianInProgress(self.sort_by, self.max_bytes, context)
        for block in items:
            yield from images.add(block)
        yield from images.finish()
