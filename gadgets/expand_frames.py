"""Frames of an image series, on demand."""

from collections.abc import Iterable, Iterator
from itertools import product

from gadgets.feature_records import FeatureSeries
from gadgets.gadget import Context, Gadget
from gadgets.records import ImageSeries
from recon_core.errors import InputError


class ExpandFrames(Gadget, frozen=True):
    """The frames asked for, one image each: U Φ at their columns of the temporal basis.

    A scan of 20 cardiac phases × 6 breaths × 344 inversion times has 41,280, of which no more are made than
    are asked for. Frames are counted by the MRD counters that their dimensions have; -1 is the last of a
    dimension. Raises InputError for a frame that there is not, and for more than `max_frames`.
    """

    accepts = FeatureSeries
    emits = ImageSeries

    phases: tuple[int, ...] | None = None
    """Cardiac phases; all if not given, as the others."""
    sets: tuple[int, ...] | None = None
    """Breaths, from the end of expiration to that of inspiration."""
    contrasts: tuple[int, ...] | None = None
    """Inversion times."""
    repetitions: tuple[int, ...] | None = None
    """Times of the scan, or flip angles."""
    max_frames: int = 4096
    """More are refused, and not sent by mistake."""

    def __call__(self, items: Iterable[FeatureSeries], context: Context) -> Iterator[ImageSeries]:
        wanted = {
            "phase": self.phases,
            "set": self.sets,
            "contrast": self.contrasts,
            "repetition": self.repetitions,
        }
        for series in items:
            frames = series.frames
            chosen = [frames.indices(wanted.get(name), name).tolist() for name in frames.counters]
            places = list(product(*chosen))
            if len(places) > self.max_frames:
                raise InputError(
                    f"ExpandFrames: expected at most {self.max_frames} frames, got {len(places)}; choose "
                    f"some of {', '.join(frames.counters)}, or raise max_frames"
                )
            for place in places:
                yield series.image(series.frame(place), place)
