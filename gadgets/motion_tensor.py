"""Navigators into a low-rank tensor of heartbeat, breath and inversion time; readouts into its subspace."""

from collections.abc import Sequence
from dataclasses import replace

import ismrmrd
import numpy as np
import numpy.typing as npt
import torch

from gadgets.calibration import PerSlice
from gadgets.coil_maps import CoilMaps, with_coil_maps
from gadgets.feature_records import FeatureSpace, Frames
from gadgets.feature_space import feature_space
from gadgets.gadget import Context
from gadgets.navigators import TICK_S, Navigators, times_s
from gadgets.records import NonCartesianKSpace
from gadgets.sequence_parameters import inversion_recovery
from recon_core.dynamic.binning import EXCLUDED, Bins, cardiac_bins, respiratory_bins
from recon_core.dynamic.dictionary_basis import recovery_basis
from recon_core.dynamic.low_rank_tensor import TensorBasis, tensor_basis
from recon_core.dynamic.self_gating import (
    CARDIAC_HZ,
    RESPIRATORY_HZ,
    heartbeats,
    motion_signal,
    r_waves,
)
from recon_core.dynamic.temporal_basis import at_times, temporal_basis
from recon_core.dynamic.tensor_completion import completed_navigators
from recon_core.errors import InputError

COUNTERS = ("phase", "set", "contrast")
MIN_SINGULAR = 1e-4
"""Share of the navigators' norm below which a singular value counts as none."""


class MotionTensor:
    """How a scan's navigators become a temporal basis; the arguments are those of `MultitaskingSubspace`."""

    def __init__(
        self,
        where: str,
        n_bins: tuple[int, int],
        rank: int,
        motion_ranks: tuple[int, int],
        n_virtual: int,
        context: Context,
    ) -> None:
        self._where, self._n_bins, self._rank = where, n_bins, rank
        self._motion_ranks, self._n_virtual, self._context = motion_ranks, n_virtual, context
        self._recovery = inversion_recovery(where, context.header)
        self._maps: PerSlice[torch.Tensor] = PerSlice()

    def projected(
        self, kspace: NonCartesianKSpace, navigators: Navigators, ecg: Sequence[ismrmrd.Waveform]
    ) -> FeatureSpace:
        """The slice's readouts in the feature space of the tensor that its navigators make."""
        own = navigators.of_slice(int(kspace.header["idx"]["slice"]))
        nav_headers, courses = own.headers(), own.courses()
        first = int(nav_headers["scan_counter"][0])
        nav_times, times = (
            times_s(headers, first, self._context.header, self._where)
            for headers in (nav_headers, kspace.headers)
        )
        nav_inversion, inversion = self._inversions(nav_headers), self._inversions(kspace.headers)
        notes: list[str] = []
        beats, breath = self._motion(courses, nav_times, nav_inversion, ecg, notes)
        # Together, so that a bin is the same one for both.
        both = torch.cat([nav_times, times])
        of_both = [self._phases(both, beats, notes), self._breaths(breath, both, nav_times)]
        nav_bins = [replace(one, index=one.index[: len(nav_times)]) for one in of_both]
        bins = [replace(one, index=one.index[len(nav_times) :]) for one in of_both]
        basis = self._basis(courses, nav_bins, nav_inversion, own.noise_std)

        kept = (bins[0].index != EXCLUDED) & (bins[1].index != EXCLUDED)
        n_left_out = int((~kept).sum())
        if n_left_out:
            notes.append(
                f"{n_left_out} of {len(kept)} readouts left out: in irregular or incomplete heartbeats"
            )
        cells = bins[0].index[kept] * bins[1].n_bins + bins[1].index[kept]
        n_cells = bins[0].n_bins * bins[1].n_bins
        n_empty = n_cells - len(torch.unique(cells))
        if n_empty:
            notes.append(f"{n_empty} of {n_cells} bins of heartbeat and breath without readouts, filled in")
        for note in notes:
            self._context.logger.warning(note)
        calibrated = with_coil_maps(kspace, CoilMaps(n_maps=1), self._maps)
        which = torch.nonzero(kept)[:, 0]
        calibrated = replace(
            calibrated,
            data=calibrated.data[:, which],
            trajectory=calibrated.trajectory[which],
            headers=calibrated.headers[which.numpy()],
        )
        rows = basis.at(*(one.index[kept] for one in bins), inversion[kept]).to(kspace.data.device)
        frames = Frames(basis=_on(basis, kspace.data.device), counters=COUNTERS, contrast=self._recovery)
        return feature_space(calibrated, rows, frames, *notes)

    def _inversions(self, headers: npt.NDArray[np.void]) -> torch.Tensor:
        index = torch.from_numpy(headers["idx"]["contrast"].astype(np.int64))
        n = len(self._recovery.times_ms)
        if int(index.max()) >= n:
            raise InputError(
                f"{self._where}: expected contrast below the {n} inversion times of the header, got "
                f"{int(index.max())}; list every TI in sequenceParameters"
            )
        return index

    def _motion(
        self,
        courses: torch.Tensor,
        nav_times: torch.Tensor,
        inversion: torch.Tensor,
        ecg: Sequence[ismrmrd.Waveform],
        notes: list[str],
    ) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """Heartbeats `(beat,)` in seconds and breath `(navigator,)`; None, with a note, if none."""
        beats = breath = None
        samples = courses[:, None]
        try:
            beats = _electrocardiogram_beats(ecg) if ecg else None
        except InputError as error:
            notes.append(f"electrocardiogram not used: {error}")
        try:
            if beats is None:
                beats = heartbeats(motion_signal(samples, nav_times, CARDIAC_HZ, inversion_index=inversion))
        except InputError as error:
            notes.append(f"no heartbeat, frames are means over it: {error}")
        try:
            signal = motion_signal(samples, nav_times, RESPIRATORY_HZ, inversion_index=inversion)
            breath = at_times(signal.values[None], signal.times_s, nav_times)[0]
        except InputError as error:
            notes.append(f"no breath, frames are means over it: {error}")
        return beats, breath

    def _phases(self, times: torch.Tensor, beats: torch.Tensor | None, notes: list[str]) -> Bins:
        if beats is not None:
            try:
                return cardiac_bins(times, beats, self._n_bins[0])
            except InputError as error:
                notes.append(f"no cardiac phases, frames are means over the heartbeat: {error}")
        return Bins(torch.zeros(len(times), dtype=torch.long), 1)

    def _breaths(self, breath: torch.Tensor | None, times: torch.Tensor, nav_times: torch.Tensor) -> Bins:
        if breath is None:
            return Bins(torch.zeros(len(times), dtype=torch.long), 1)
        return respiratory_bins(at_times(breath[None], nav_times, times)[0], self._n_bins[1])

    def _basis(
        self, courses: torch.Tensor, bins: list[Bins], inversion: torch.Tensor, noise_std: float
    ) -> TensorBasis:
        """Φ, rows of mean square one."""
        compressed = temporal_basis(courses.mT, energy=1.0, noise_std=noise_std)
        n_virtual = min(self._n_virtual, compressed.rank)
        virtual = (compressed.rows * compressed.singular_values[: compressed.rank, None])[:n_virtual].mT
        kept = (bins[0].index != EXCLUDED) & (bins[1].index != EXCLUDED)
        contrast = self._contrast_basis()
        tensor = completed_navigators(
            virtual[kept],
            [one.index[kept] for one in bins],
            [one.n_bins for one in bins],
            contrast[:, inversion[kept]],
        )
        ranks = [min(rank, one.n_bins) for rank, one in zip(self._motion_ranks, bins, strict=True)]
        moving = (tensor - tensor.mean((1, 2), keepdim=True)).flatten(1)
        n_moving = int(torch.linalg.matrix_rank(moving, atol=MIN_SINGULAR * float(tensor.norm()), rtol=0.0))
        rank = min(self._rank, len(contrast) + n_moving)
        self._context.logger.info("temporal basis: rank %d, %d of contrast", rank, len(contrast))
        if rank > len(contrast):
            basis = tensor_basis(tensor, contrast, rank=rank, motion_ranks=ranks)
        else:
            basis = _motionless([one.n_bins for one in bins], contrast)
        n_frames = bins[0].n_bins * bins[1].n_bins * contrast.shape[1]
        return TensorBasis(basis.core * n_frames**0.5, basis.factors)

    def _contrast_basis(self) -> torch.Tensor:
        """(coefficient, inversion time), orthonormal: of the pulses that are spokes."""
        sequence = self._recovery.sequence
        pulses = ((self._recovery.times_ms - sequence.delay_ms) / sequence.tr_ms).round().long()
        rows = recovery_basis(sequence).rows[:, pulses.clamp(0, sequence.n_pulses - 1)]
        orthonormal: torch.Tensor = torch.linalg.qr(rows.mT).Q.mT
        return orthonormal.contiguous()


def _motionless(n_bins: Sequence[int], contrast: torch.Tensor) -> TensorBasis:
    """The contrast basis, the same in all bins."""
    core = torch.eye(len(contrast)).reshape(len(contrast), 1, 1, len(contrast))
    return TensorBasis(core, (*(torch.full((n, 1), n**-0.5) for n in n_bins), contrast.mT))


def _electrocardiogram_beats(ecg: Sequence[ismrmrd.Waveform]) -> torch.Tensor:
    """(beat,) in seconds of the scanner's clock."""
    interval_s = 1e-6 * ecg[0].sample_time_us
    traces = np.concatenate([waveform.data for waveform in ecg], axis=1).astype(np.float64)
    begin_s: float = TICK_S * ecg[0].time_stamp
    return begin_s + r_waves(torch.from_numpy(traces), interval_s)


def _on(basis: TensorBasis, device: torch.device) -> TensorBasis:
    return TensorBasis(basis.core.to(device), tuple(factor.to(device) for factor in basis.factors))
