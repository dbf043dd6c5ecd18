"""Breath and heartbeat found in the navigators of simulated scans, and in electrocardiograms."""

import math
from functools import cache

import pytest
import torch

from recon_core.dynamic.motion import Motion, phase_between
from recon_core.dynamic.multitasking import MultitaskingScan, Protocol, random_subject
from recon_core.dynamic.self_gating import CARDIAC_HZ, RESPIRATORY_HZ, heartbeats, motion_signal, r_waves
from recon_core.dynamic.temporal_basis import at_times
from recon_core.errors import InputError
from recon_core.training.draws import Draws


@cache
def navigators(has_heartbeat: bool = True) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, Motion]:
    """(time, coil, sample) of nine recoveries, 22 s, and their times and inversion indices."""
    protocol = Protocol(matrix=32, n_coils=2, n_spokes=9 * 344, has_heartbeat=has_heartbeat)
    scan = MultitaskingScan(random_subject(protocol, 1), protocol, 1)
    which = torch.nonzero(scan.is_navigator)[:, 0]
    sampler, signals, draws = scan._sampler(), scan._signals(), Draws(0, "noise")
    clean = torch.cat([sampler.along_kx(scan._seen(some, signals)) for some in torch.split(which, 64)])
    noisy = clean + scan.noise_mixing @ draws.complex_normal(*clean.shape)
    return noisy, scan.motion.times_s[which], scan.inversion_index[which], scan.motion


def test_the_breath_in_the_navigators_is_that_of_the_subject() -> None:
    kspace, times_s, inversion_index, motion = navigators()
    signal = motion_signal(kspace, times_s, RESPIRATORY_HZ, inversion_index=inversion_index)
    truth = at_times(motion.respiration[None], motion.times_s, signal.times_s)[0]
    correlation = torch.corrcoef(torch.stack([signal.values, truth]))[0, 1]
    assert float(correlation.abs()) > 0.8
    assert float(signal.values.std()) == pytest.approx(1)


def test_every_heartbeat_is_found_once_and_at_one_phase() -> None:
    kspace, times_s, inversion_index, motion = navigators()
    signal = motion_signal(kspace, times_s, CARDIAC_HZ, inversion_index=inversion_index)
    beats_s = heartbeats(signal)
    phase = phase_between(motion.r_waves_s, beats_s)
    assert abs(len(beats_s) - (len(motion.r_waves_s) - 1)) <= 2
    assert float(torch.exp(2j * math.pi * phase).mean().abs()) > 0.95


def test_a_heart_that_does_not_beat_is_not_found_beating() -> None:
    kspace, times_s, inversion_index, _ = navigators(has_heartbeat=False)
    with pytest.raises(InputError, match=r"motion between 0\.65 and 2\.5 Hz.*use a waveform"):
        motion_signal(kspace, times_s, CARDIAC_HZ, inversion_index=inversion_index)
    noise = Draws(0, "noise").complex_normal(*kspace.shape)
    for band in (CARDIAC_HZ, RESPIRATORY_HZ):
        with pytest.raises(InputError, match="self-gating: expected motion"):
            motion_signal(noise, times_s, band)


def test_missing_and_rare_navigators_are_refused() -> None:
    kspace, times_s, _, _ = navigators()
    with pytest.raises(InputError, match="over at least 10 s"):
        motion_signal(kspace[:300], times_s[:300], RESPIRATORY_HZ)
    with pytest.raises(InputError, match="got 0 and 0 times over 0"):
        motion_signal(kspace[:0], times_s[:0], CARDIAC_HZ)
    with pytest.raises(InputError, match="at least every 100 ms, got one every 2"):
        motion_signal(kspace[::32], times_s[::32], CARDIAC_HZ)


def test_r_waves_of_an_electrocardiogram_are_where_it_is_steepest() -> None:
    expected = torch.tensor([0.9, 0.83, 1.1, 0.95, 0.6, 1.2], dtype=torch.float64).cumsum(0)
    times_s = torch.arange(0, 6.5, 0.0025, dtype=torch.float64)
    since = times_s[:, None] - expected
    waves = torch.exp(-((since / 0.01) ** 2)) + 0.3 * torch.exp(-(((since - 0.25) / 0.05) ** 2))
    ecg = torch.stack([waves.sum(1), -0.4 * waves.sum(1)]) + 0.2 * torch.sin(times_s)
    ecg = ecg + 0.01 * torch.randn(ecg.shape, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(r_waves(ecg, 0.0025), expected, rtol=0, atol=0.015)
    with pytest.raises(InputError, match="gate by navigators"):
        r_waves(torch.zeros(4, 1000), 0.0025)


def test_a_single_recovery_which_contrast_explains_alone_is_refused() -> None:
    navigators = torch.randn(400, 2, 8, generator=torch.Generator().manual_seed(0))
    times_s = 0.01 * torch.arange(400, dtype=torch.float64)
    with pytest.raises(InputError, match="got a single recovery"):
        motion_signal(navigators, times_s, CARDIAC_HZ, inversion_index=torch.arange(400))
