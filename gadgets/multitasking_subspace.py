"""A free-running scan into its low-rank tensor's feature space."""

from collections.abc import Iterable, Iterator

import ismrmrd

from gadgets.feature_records import FeatureSpace
from gadgets.gadget import Context, Gadget
from gadgets.motion_tensor import MotionTensor
from gadgets.navigators import Navigators
from gadgets.non_cartesian_in_progress import NonCartesianInProgress
from gadgets.records import Readouts


class MultitaskingSubspace(Gadget, frozen=True):
    """Heartbeat, breath and inversion time as dimensions of one low-rank tensor, and the scan projected into
    its feature space.

    Breath and heartbeat are found in the navigators, the heartbeat in an electrocardiogram where one is
    sent; readouts are sorted into bins of both and of inversion time; the navigators, sorted likewise and
    completed where no readout fell, give core and factors. Frames are counted by `phase` (heartbeat), `set`
    (breath, from the end of expiration) and `contrast` (inversion time). Christodoulou et al. 2018,
    doi:10.1038/s41551-018-0217-y.

    Where no heartbeat or breath is found, or most beats are irregular, the tensor does without that
    dimension; readouts in irregular beats are left out; bins without readouts are filled in by the others.
    The notes say so. Raises InputError for missing navigators and a header that does not describe the
    inversions.
    """

    accepts = Readouts | ismrmrd.Waveform
    emits = FeatureSpace | ismrmrd.Waveform

    n_phases: int = 20
    """Bins of the heartbeat."""
    n_breaths: int = 6
    """Bins of the breath."""
    rank: int = 32
    """Coefficients, at most, but as many as the contrast alone needs."""
    motion_ranks: tuple[int, int] = (10, 4)
    """Of the factors of heartbeat and breath, at most."""
    n_virtual: int = 48
    """Combinations of navigator samples that are sorted into bins."""
    ecg_id: int = 0
    """MRD's id of electrocardiograms among waveforms."""
    max_bytes: int = 8 << 30
    """Memory that the readouts of slices begun and not yet complete may take together."""

    def __call__(
        self, items: Iterable[Readouts | ismrmrd.Waveform], context: Context
    ) -> Iterator[FeatureSpace | ismrmrd.Waveform]:
        name = type(self).__name__
        slices = NonCartesianInProgress(("slice",), self.max_bytes, context)
        navigators: Navigators = Navigators(name)
        ecg: list[ismrmrd.Waveform] = []
        tensor = MotionTensor(
            name, (self.n_phases, self.n_breaths), self.rank, self.motion_ranks, self.n_virtual, context
        )
        for item in items:
            if isinstance(item, ismrmrd.Waveform):
                if item.waveform_id == self.ecg_id:
                    ecg.append(item)
                yield item
                continue
            navigators.add(item)
            for kspace in slices.add(item):
                yield tensor.projected(kspace, navigators, ecg)
        for kspace in slices.finish():
            yield tensor.projected(kspace, navigators, ecg)
