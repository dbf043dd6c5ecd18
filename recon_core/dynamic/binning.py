"""Readouts into bins of cardiac phase, breath and inversion time."""

from dataclasses import dataclass

import torch

from recon_core.dynamic.motion import phase_between
from recon_core.errors import InputError

MAX_DEPARTURE = 0.2
"""Of an RR interval from the median, as a share of it, within which a beat counts as regular."""
EXCLUDED = -1
"""The bin of readouts that belong to none."""


@dataclass(frozen=True)
class Bins:
    """One motion's bin of each readout."""

    index: torch.Tensor
    """(readout,), from 0; `EXCLUDED` where none applies."""
    n_bins: int

    @property
    def counts(self) -> torch.Tensor:
        """(bin,) readouts in each; zero says that a bin is empty."""
        return torch.bincount(self.index[self.index != EXCLUDED], minlength=self.n_bins)

    @property
    def share_excluded(self) -> float:
        """Of the readouts."""
        return float((self.index == EXCLUDED).double().mean())


def cardiac_bins(times_s: torch.Tensor, beats_s: torch.Tensor, n_bins: int = 20) -> Bins:
    """By the share of the RR interval that has passed; readouts of irregular beats are excluded.

    A beat is irregular when its interval departs from the median by more than `MAX_DEPARTURE`: an early one,
    and the pause behind it. Readouts before the first and after the last beat are in no interval.

    Args:
        times_s: (readout,).
        beats_s: (beat,), ascending: R waves, or any other phase of the cycle.
        n_bins: of equal length.

    Raises:
        InputError: fewer than two beats, or fewer than half of them regular.
    """
    if len(beats_s) < 2:
        raise InputError(
            f"cardiac bins: expected at least two heartbeats, got {len(beats_s)}; reconstruct without "
            "cardiac bins"
        )
    intervals = beats_s.diff()
    median = intervals.median()
    is_regular = (intervals / median - 1).abs() <= MAX_DEPARTURE
    if float(is_regular.double().mean()) < 0.5:
        raise InputError(
            f"cardiac bins: expected at least half of the heartbeats within {100 * MAX_DEPARTURE:.0f} % of "
            f"the median interval of {float(median):.2f} s, got {int(is_regular.sum())} of "
            f"{len(is_regular)}; reconstruct in real time, without cardiac bins"
        )
    beat = torch.searchsorted(beats_s, times_s, right=True) - 1
    is_within = (beat >= 0) & (beat < len(intervals))
    index = (phase_between(beats_s, times_s) * n_bins).long()
    usable = is_within & is_regular[beat.clamp(0, len(intervals) - 1)]
    return Bins(torch.where(usable, index, EXCLUDED), n_bins)


def respiratory_bins(respiration: torch.Tensor, n_bins: int = 6) -> Bins:
    """By the depth of breath, each bin with the same number of readouts, from one end of breath to the other.

    respiration: (readout,), any monotonic measure of depth. Bin 0 is the end at which breath stays longer,
    which is expiration at rest.
    """
    if len(respiration) < n_bins or not bool(torch.isfinite(respiration).all()):
        raise InputError(
            f"respiratory bins: expected a finite value for each of at least {n_bins} readouts, got "
            f"{len(respiration)}; use fewer bins"
        )
    # At the end that breath stays at values crowd: the mode is nearer to it than the middle of the range.
    low, middle, high = (float(respiration.double().quantile(q)) for q in (0.02, 0.5, 0.98))
    rising = respiration if middle - low <= high - middle else -respiration
    rank = torch.empty(len(rising), dtype=torch.long)
    rank[rising.argsort(stable=True)] = torch.arange(len(rising))
    return Bins((rank * n_bins // len(rising)).to(respiration.device), n_bins)
