"""Echoes at several flip angles into their temporal feature space."""

from collections.abc import Iterable, Iterator

import numpy as np
import torch

from gadgets.accumulate import Counter
from gadgets.feature_records import FeatureSpace, FlipAngles, Frames
from gadgets.feature_space import feature_space
from gadgets.gadget import Context, Gadget
from gadgets.records import CalibratedNonCartesianKSpace
from gadgets.sequence_parameters import repetition_time_ms, stated
from recon_core.dynamic.dictionary_basis import flip_angle_basis
from recon_core.dynamic.low_rank_tensor import TensorBasis
from recon_core.errors import InputError


class FlipAngleSubspace(Gadget, frozen=True):
    """Project the pooled readouts of a variable-flip-angle scan into a subspace of spoiled echoes.

    The basis is that of Bloch's equations for all T1 and transmit fields that occur, known before the scan.
    Raises InputError where flip angles or TR are neither in the header nor given, where the counter goes
    beyond them, or where fewer flip angles were measured than the basis has coefficients.
    """

    accepts = CalibratedNonCartesianKSpace
    emits = FeatureSpace

    flip_angles_deg: tuple[float, ...] | None = None
    """One for each value of `counter`; if not given, the header's `flipAngle_deg`."""
    tr_ms: float | None = None
    """If not given, the header's `TR`."""
    counter: Counter = "repetition"
    """Which MRD counter counts the flip angles."""
    t1_range_ms: tuple[float, float] = (100.0, 5000.0)
    """Of the signals that the basis is made of."""
    rank: int | None = None
    """Coefficients; if not given, as few as have `energy`."""
    energy: float = 0.9999
    """Share of the signals' energy that the basis keeps."""

    def __call__(
        self, items: Iterable[CalibratedNonCartesianKSpace], context: Context
    ) -> Iterator[FeatureSpace]:
        angles_deg = stated("FlipAngleSubspace", "flip_angles_deg", self.flip_angles_deg, context.header)
        tr_ms = self.tr_ms or repetition_time_ms("FlipAngleSubspace", context.header)
        rows = flip_angle_basis(
            angles_deg, tr_ms, t1_range_ms=self.t1_range_ms, rank=self.rank, energy=self.energy
        ).rows
        # Rows of mean square one at the readouts, so that feature maps are as bright as images.
        rows = rows.to(context.device) * len(angles_deg) ** 0.5
        frames = Frames(
            basis=TensorBasis(torch.eye(len(rows), device=rows.device), (rows.mT.contiguous(),)),
            counters=(self.counter,),
            contrast=FlipAngles(flip_angles_deg=angles_deg, tr_ms=tr_ms),
        )
        for kspace in items:
            measured = self._measured(kspace, len(angles_deg), len(rows))
            yield feature_space(kspace, rows[:, measured], frames)

    def _measured(self, kspace: CalibratedNonCartesianKSpace, n_angles: int, rank: int) -> torch.Tensor:
        """`(readout,)`: the number of each readout's flip angle."""
        numbers = kspace.headers["idx"][self.counter].astype(np.int64)
        n_measured = len(np.unique(numbers))
        if int(numbers.max()) >= n_angles or n_measured < rank:
            raise InputError(
                f"FlipAngleSubspace: expected readouts of at least {rank} flip angles, {self.counter} from 0 "
                f"to {n_angles - 1}, got {n_measured} up to {numbers.max()}; state the flip angles of this "
                "scan, pool them in one image, or lower the rank"
            )
        return torch.from_numpy(numbers).to(kspace.data.device)
