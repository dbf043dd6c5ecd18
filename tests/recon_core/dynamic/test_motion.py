"""Heartbeat and breath: continuous, periodic where they should be, irregular where they should be."""

import torch

from recon_core.dynamic.motion import contraction, phase_between, random_motion
from recon_core.training.draws import Draws

TIMES_S = torch.arange(0, 60, 0.004, dtype=torch.float64)


def test_contraction_is_smooth_and_periodic_and_runs_from_zero_to_one() -> None:
    phase = torch.linspace(0, 1, 10_001, dtype=torch.float64)
    curve = contraction(phase)
    assert curve.min() == 0
    assert curve.max() == 1
    assert abs(float(curve[0] - curve[-1])) < 1e-12
    slope = curve.diff() / phase.diff()
    assert slope.abs().max() < 8
    assert slope.diff().abs().max() < 0.02
    assert abs(float(slope[0] - slope[-1])) < 0.02


def test_the_phase_runs_from_beat_to_beat() -> None:
    starts_s = torch.tensor([-0.5, 0.5, 2.5], dtype=torch.float64)
    times_s = torch.tensor([0.0, 0.5, 1.0, 2.0], dtype=torch.float64)
    torch.testing.assert_close(
        phase_between(starts_s, times_s), torch.tensor([0.5, 0.0, 0.25, 0.75], dtype=torch.float64)
    )


def test_states_change_continuously_and_phases_only_jump_at_r_waves() -> None:
    motion = random_motion(TIMES_S, Draws(3))
    assert contraction(motion.cardiac_phase).diff().abs().max() < 0.06
    assert motion.respiration.diff().abs().max() < 0.01
    n_jumps = int((motion.cardiac_phase.diff() < 0).sum())
    assert n_jumps == int(((motion.r_waves_s > 0) & (motion.r_waves_s <= TIMES_S[-1])).sum())


def test_breaths_are_of_usual_length_and_depth_and_rest_at_end_of_expiration() -> None:
    for seed in range(5):
        respiration = random_motion(TIMES_S, Draws(seed)).respiration
        is_deep = respiration > 0.5
        n_breaths = int((is_deep.diff() & is_deep[1:]).sum())
        assert 10 <= n_breaths <= 18
        assert (respiration < 0.3).float().mean() > 0.5
        assert -0.3 < respiration.min() < respiration.max() < 1.5


def test_beats_differ_a_little_and_with_arrhythmia_a_lot() -> None:
    def variation(**kinds: bool) -> float:
        beats_s = random_motion(TIMES_S, Draws(7), **kinds).r_waves_s.diff()
        return float(beats_s.std() / beats_s.mean())

    assert 0.01 < variation() < 0.08
    assert variation(has_arrhythmia=True) > 0.12


def test_without_a_heartbeat_the_chest_still_breathes_as_before() -> None:
    beating, still = (random_motion(TIMES_S, Draws(7), has_heartbeat=beats) for beats in (True, False))
    assert torch.equal(beating.respiration, still.respiration)
    assert not still.cardiac_phase.any()
    assert len(still.r_waves_s) == 0
