"""Readouts into the temporal feature space of their navigators, as they arrive."""

from collections.abc import Iterable, Iterator

from gadgets.feature_records import FeatureSpace
from gadgets.gadget import Context, Gadget
from gadgets.records import Readouts
from gadgets.subspace_in_progress import SubspaceInProgress


class NavigatorSubspace(Gadget, frozen=True):
    """Project a scan of one slice into the subspace of its navigators while it goes on.

    The temporal basis is that of the navigators' singular vectors (Liang 2007, ISBI, p. 988,
    doi:10.1109/ISBI.2007.357020), between navigators interpolated. What the first of them show decides which
    of their combinations are followed; readouts are added up as they arrive, so that after the last one only
    the final basis, coil combination and solver are left to do. Coil maps are calibrated from the first 512.

    A scan that ends early is reconstructed from what came, which is noted. Raises InputError for missing
    navigators, a rank above that of the data, a second slice, and readouts without trajectory.
    """

    accepts = Readouts
    emits = FeatureSpace

    rank: int | None = None
    """Coefficients; if not given, as few as have `energy`."""
    energy: float = 0.999
    """Share of the navigators' energy that the basis keeps; what noise could have made is not counted."""
    n_learning: int = 256
    """Navigators that decide what is followed."""
    n_learned: int = 16
    """Combinations of navigator samples that are followed, at most: time and memory grow with the square."""
    n_frames: int = 32
    """Evenly spaced times of the scan that there are frames of, counted by `repetition`."""

    def __call__(self, items: Iterable[Readouts], context: Context) -> Iterator[FeatureSpace]:
        scan = SubspaceInProgress("NavigatorSubspace", self.n_learning, self.n_learned, context)
        for block in items:
            scan.add(block)
        yield scan.finish(self.rank, self.energy, self.n_frames)
