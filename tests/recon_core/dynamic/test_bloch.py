"""The signal against magnetisation vectors turned and relaxed step by step, and against Look and Locker."""

import math

import pytest
import torch

from recon_core.dynamic.bloch import InversionRecovery, apparent_t1_ms, recovery_signal, scan_signal
from recon_core.errors import InputError

T1_MS = torch.tensor([350.0, 1471.0, 1932.0], dtype=torch.float64)
SEQUENCE = InversionRecovery(tr_ms=5.1, flip_angle_deg=7.0, n_pulses=90, delay_ms=12.0)


def stepped(t1_ms: float, sequence: InversionRecovery, n_recoveries: int) -> torch.Tensor:
    """Bloch's equations by rotation and relaxation of (x, y, z), spoiled before each pulse, of η by angle."""

    def about_x(angle_rad: float) -> torch.Tensor:
        cos, sin = math.cos(angle_rad), math.sin(angle_rad)
        return torch.tensor([[1, 0, 0], [0, cos, -sin], [0, sin, cos]], dtype=torch.float64)

    def relax(m: torch.Tensor, time_ms: float) -> torch.Tensor:
        z = 1 + (m[2] - 1) * math.exp(-time_ms / t1_ms)
        return torch.stack([0 * z, 0 * z, z])  # spoiled

    pulse = about_x(math.radians(sequence.flip_angle_deg))
    inversion = about_x(math.acos(-sequence.inversion_efficiency))
    m, signals = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64), []
    for _ in range(n_recoveries):
        m = relax(inversion @ m, sequence.delay_ms)
        for _ in range(sequence.n_pulses):
            m = pulse @ m
            signals.append(-m[1])
            m = relax(m, sequence.tr_ms)
    return torch.stack(signals).reshape(n_recoveries, sequence.n_pulses)


def test_a_scan_is_what_rotating_and_relaxing_vectors_gives() -> None:
    expected = torch.stack([stepped(float(t1), SEQUENCE, 4) for t1 in T1_MS])
    torch.testing.assert_close(scan_signal(T1_MS, SEQUENCE, 4), expected, rtol=1e-11, atol=1e-13)


def test_later_recoveries_become_the_periodic_one() -> None:
    torch.testing.assert_close(
        scan_signal(T1_MS, SEQUENCE, 40)[:, -1], recovery_signal(T1_MS, SEQUENCE), rtol=1e-11, atol=1e-13
    )


def test_recovery_is_look_and_lockers_exponential() -> None:
    signal = recovery_signal(T1_MS, SEQUENCE)
    alpha = math.radians(SEQUENCE.flip_angle_deg)
    recovery = torch.exp(-SEQUENCE.tr_ms / T1_MS)
    steady = math.sin(alpha) * (1 - recovery) / (1 - recovery * math.cos(alpha))
    since_first_ms = SEQUENCE.inversion_times_ms - SEQUENCE.delay_ms
    decay = torch.exp(-since_first_ms / apparent_t1_ms(T1_MS, SEQUENCE)[:, None])
    expected = steady[:, None] + (signal[:, :1] - steady[:, None]) * decay
    torch.testing.assert_close(signal, expected, rtol=1e-9, atol=1e-12)


def test_a_perfect_inversion_of_equilibrium_starts_at_minus_one() -> None:
    sequence = InversionRecovery(delay_ms=0.0, inversion_efficiency=1.0, flip_angle_deg=30.0, n_pulses=3)
    first = scan_signal(T1_MS, sequence, 1)[:, 0, 0]
    torch.testing.assert_close(first, torch.full_like(first, -math.sin(math.radians(30))))


def test_shapes_follow_those_of_t1() -> None:
    t1_ms = torch.full((2, 3), 900.0)
    assert recovery_signal(t1_ms, SEQUENCE).shape == (2, 3, 90)
    assert scan_signal(t1_ms, SEQUENCE, 2).shape == (2, 3, 2, 90)


def test_impossible_numbers_are_refused() -> None:
    with pytest.raises(InputError, match="T1 above 0 ms"):
        recovery_signal(torch.tensor([800.0, 0.0]), SEQUENCE)
    with pytest.raises(InputError, match="flip angle between 0 and 90"):
        InversionRecovery(flip_angle_deg=0.0)
