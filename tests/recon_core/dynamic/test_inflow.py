"""Blood that flows: without flow it is still tissue, with it the pulses matter less."""

import math

import torch

from recon_core.dynamic.bloch import InversionRecovery, scan_signal
from recon_core.dynamic.inflow import inflow_signal

T1_MS = torch.tensor([382.0, 1932.0], dtype=torch.float64)
SEQUENCE = InversionRecovery(n_pulses=60, tr_ms=8.0)


def test_blood_that_stands_is_still_tissue() -> None:
    still = inflow_signal(T1_MS, SEQUENCE, 3, replaced=0.0)
    torch.testing.assert_close(still, scan_signal(T1_MS, SEQUENCE, 3), rtol=1e-11, atol=1e-13)


def test_blood_that_is_always_fresh_has_seen_inversions_only() -> None:
    fresh = inflow_signal(T1_MS, SEQUENCE, 2, replaced=1.0)
    no_pulses = InversionRecovery(n_pulses=60, tr_ms=8.0, flip_angle_deg=1e-6)
    only_inverted = scan_signal(T1_MS, no_pulses, 2) / 1e-6 * SEQUENCE.flip_angle_deg
    torch.testing.assert_close(fresh, only_inverted, rtol=2e-3, atol=1e-9)


def test_each_pulse_mixes_what_was_left_with_fresh_blood() -> None:
    f, e = 0.04, torch.exp(-SEQUENCE.tr_ms / T1_MS)
    angle_rad = math.radians(SEQUENCE.flip_angle_deg)
    inside, fresh = (inflow_signal(T1_MS, SEQUENCE, 2, replaced=x) / math.sin(angle_rad) for x in (f, 1.0))
    relaxed = 1 + e[:, None, None] * (math.cos(angle_rad) * inside - 1)
    torch.testing.assert_close(inside[..., 1:], ((1 - f) * relaxed[..., :-1] + f * fresh[..., 1:]))


def test_flow_leaves_blood_brighter_in_the_end() -> None:
    usual = InversionRecovery(n_pulses=344, tr_ms=7.2)
    late = [inflow_signal(T1_MS, usual, 3, replaced=f)[:, -1, -1] for f in (0.0, 0.02, 0.1)]
    assert (late[0] < late[1]).all()
    assert (late[1] < late[2]).all()
