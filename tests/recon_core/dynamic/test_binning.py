"""Bins of cardiac phase and breath, of beats and breaths that are known."""

import math

import pytest
import torch

from recon_core.dynamic.binning import EXCLUDED, Bins, cardiac_bins, respiratory_bins
from recon_core.errors import InputError


def test_cardiac_bins_are_shares_of_each_interval() -> None:
    beats_s = torch.tensor([1.0, 2.0, 2.9, 4.0])
    times_s = torch.tensor([1.0, 1.049, 1.051, 1.999, 2.0, 2.45, 3.999])
    assert cardiac_bins(times_s, beats_s, 20).index.tolist() == [0, 0, 1, 19, 0, 10, 19]


def test_readouts_outside_and_in_irregular_beats_are_excluded() -> None:
    beats_s = torch.tensor([1.0, 2.0, 3.0, 3.6, 5.0, 6.0, 7.0])
    times_s = torch.tensor([0.5, 1.5, 3.1, 4.0, 5.5, 7.0, 9.0])
    bins = cardiac_bins(times_s, beats_s, 2)
    assert bins.index.tolist() == [EXCLUDED, 1, EXCLUDED, EXCLUDED, 1, EXCLUDED, EXCLUDED]
    assert bins.share_excluded == pytest.approx(5 / 7)
    assert bins.counts.tolist() == [0, 2], "the first bin is empty"


def test_no_heartbeat_and_chaos_are_refused() -> None:
    times_s = torch.arange(10.0)
    with pytest.raises(InputError, match="at least two heartbeats, got 1"):
        cardiac_bins(times_s, torch.tensor([1.0]))
    chaos = torch.tensor([0.5, 1.2, 0.7, 1.6, 0.4, 1.0]).cumsum(0)
    with pytest.raises(InputError, match="without cardiac bins"):
        cardiac_bins(times_s, chaos)


@pytest.mark.parametrize("sign", [1, -1])
def test_respiratory_bins_are_equally_full_and_begin_at_expiration(sign: int) -> None:
    depth = torch.sin(math.pi * torch.arange(0, 10, 0.01)).pow(4)
    bins = respiratory_bins(sign * depth, 6)
    assert int(bins.counts.max() - bins.counts.min()) <= 1
    means = [float(depth[bins.index == number].mean()) for number in range(6)]
    assert means == sorted(means)
    with pytest.raises(InputError, match="use fewer bins"):
        respiratory_bins(depth[:3], 6)


def test_counts_leave_out_the_excluded() -> None:
    assert Bins(torch.tensor([0, EXCLUDED, 2, 2]), 4).counts.tolist() == [1, 0, 2, 0]
