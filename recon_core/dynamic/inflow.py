"""The signal of blood that flows through the slice: brighter than its saturation would leave it."""

import math

import torch

from recon_core.dynamic.bloch import InversionRecovery

REPLACED_PER_TR = 0.03
"""Share of the slice's blood that fresh blood replaces from one pulse to the next: 7 cm/s through 8 mm."""


def inflow_signal(
    t1_ms: torch.Tensor, sequence: InversionRecovery, n_recoveries: int, replaced: float = REPLACED_PER_TR
) -> torch.Tensor:
    """`(*t1, recovery, pulse)`: as `bloch.scan_signal`, where fresh blood replaces a share f at every pulse.

    m_{n+1} = (1 − f)(q·m_n + 1 − E) + f·m°, where m° has seen every inversion, which is of the whole body,
    but no pulse. At f = 0 that is `scan_signal`.
    """
    angle_rad = math.radians(sequence.flip_angle_deg)
    recovery = torch.exp(-sequence.tr_ms / t1_ms)
    delay = torch.exp(-sequence.delay_ms / t1_ms)
    inside, fresh = torch.ones_like(t1_ms), torch.ones_like(t1_ms)
    signals = []
    for _ in range(n_recoveries):
        inside, fresh = (1 - delay * (1 + sequence.inversion_efficiency * m) for m in (inside, fresh))
        for _ in range(sequence.n_pulses):
            signals.append(inside)
            fresh = 1 + recovery * (fresh - 1)
            inside = (1 - replaced) * (1 + recovery * (math.cos(angle_rad) * inside - 1)) + replaced * fresh
    shape = (*t1_ms.shape, n_recoveries, sequence.n_pulses)
    return math.sin(angle_rad) * torch.stack(signals, dim=-1).reshape(shape)
