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

    m_{n+1} = g·m_n + (1 − f)(1 − E) + f·m°_{n+1} with g = (1 − f)·E·cos α. Fresh blood m° has seen every
    inversion, which is of the whole body, but no pulse: m°_n = 1 + (m°_0 − 1)·Eⁿ. Both are geometric, so that
    m_n = a·gⁿ + b·Eⁿ + c. At f = 0 that is `scan_signal`.
    """
    angle_rad = math.radians(sequence.flip_angle_deg)
    e, delay = (torch.exp(-time_ms / t1_ms) for time_ms in (sequence.tr_ms, sequence.delay_ms))
    g = (1 - replaced) * e * math.cos(angle_rad)
    c = ((1 - replaced) * (1 - e) + replaced) / (1 - g)
    n = torch.arange(sequence.n_pulses + 1)
    e_powers, g_powers = e[..., None] ** n, g[..., None] ** n
    inside, fresh, recoveries = torch.ones_like(t1_ms), torch.ones_like(t1_ms), []
    for _ in range(n_recoveries):
        inside, fresh = (1 - delay * (1 + sequence.inversion_efficiency * m) for m in (inside, fresh))
        b = replaced * (fresh - 1) * e / (e - g)
        m = (inside - b - c)[..., None] * g_powers + b[..., None] * e_powers + c[..., None]
        recoveries.append(m[..., :-1])
        inside, fresh = m[..., -1], 1 + (fresh - 1) * e_powers[..., -1]
    return math.sin(angle_rad) * torch.stack(recoveries, dim=-2)
