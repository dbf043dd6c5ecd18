"""Heartbeat and breath as continuous functions of time, with the irregularities that both have."""

import math
from dataclasses import dataclass

import torch

from recon_core.training.draws import Draws

RISE, PEAK, FALL, ATRIAL_KICK = 0.03, 0.36, 0.62, 0.88
"""Phases of the cycle: contraction begins, is complete, is over but for a rest, and atria fill the rest."""
REST = 0.12
"""Contraction that is left until the atria contract."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Motion:
    """The states of motion at given times."""

    times_s: torch.Tensor
    """`(time,)` float64 since the start of the scan."""
    cardiac_phase: torch.Tensor
    """`(time,)` from 0 at one R wave up to 1 at the next; 0 throughout without a heartbeat."""
    respiration: torch.Tensor
    """`(time,)`: 0 at a usual end of expiration, 1 at a usual end of inspiration."""
    r_waves_s: torch.Tensor
    """When the heart began to beat; the first at or before the start, the last after the end."""


def random_motion(
    times_s: torch.Tensor, draws: Draws, *, has_heartbeat: bool = True, has_arrhythmia: bool = False
) -> Motion:
    """A subject at rest: a heart of its own rate that varies from beat to beat, and breaths that differ.

    RR intervals vary by 3 % and with the breath (sinus arrhythmia). With `has_arrhythmia` every sixth beat or
    so comes early, by a third of the interval, and is followed by a pause. Breaths are cos⁴-shaped (Lujan et
    al. 1999, doi:10.1118/1.598577), differ in length and depth, and end-expiration drifts.
    """
    duration_s = float(times_s.max())
    breathing = _Breathing(duration_s, draws)
    r_waves_s = _r_waves(duration_s, breathing, draws, has_arrhythmia)
    phase = torch.zeros_like(times_s) if not has_heartbeat else phase_between(r_waves_s, times_s)
    return Motion(
        times_s=times_s,
        cardiac_phase=phase,
        respiration=breathing.at(times_s),
        r_waves_s=r_waves_s if has_heartbeat else r_waves_s[:0],
    )


def phase_between(starts_s: torch.Tensor, times_s: torch.Tensor) -> torch.Tensor:
    """`(time,)`: the share of the cycle that has passed, cycles beginning at `starts_s`."""
    last = torch.searchsorted(starts_s, times_s, right=True).clamp(1, len(starts_s) - 1) - 1
    phase = (times_s - starts_s[last]) / (starts_s[last + 1] - starts_s[last])
    return phase.clamp(0, math.nextafter(1, 0))


def contraction(cardiac_phase: torch.Tensor) -> torch.Tensor:
    """From 0 at the end of diastole to 1 at the end of systole; a smooth periodic function of the phase.

    A quick systole, a quicker first filling, diastasis, and the atrial kick, as in curves of ventricular
    volume.
    """
    systole = _smooth_step((cardiac_phase - RISE) / (PEAK - RISE))
    filling = _smooth_step((cardiac_phase - PEAK) / (FALL - PEAK))
    kick = _smooth_step((cardiac_phase - ATRIAL_KICK) / (1 - ATRIAL_KICK))
    return systole - (1 - REST) * filling - REST * kick


def _smooth_step(x: torch.Tensor) -> torch.Tensor:
    x = x.clamp(0, 1)
    return x * x * x * (x * (6 * x - 15) + 10)


class _Breathing:
    """Breaths one after the other, each with a length and a depth of its own."""

    def __init__(self, duration_s: float, draws: Draws) -> None:
        usual_s = draws.uniform(3.5, 5.5)
        starts_s, depths = [-usual_s * draws.uniform()], []
        while starts_s[-1] <= duration_s:
            starts_s.append(starts_s[-1] + usual_s * draws.uniform(0.85, 1.15))
            depths.append(draws.uniform(0.8, 1.2))
        self.starts_s = torch.tensor(starts_s, dtype=torch.float64)
        self.depths = torch.tensor(depths, dtype=torch.float64)
        self.drift_per_s = draws.uniform(-0.15, 0.15) / max(duration_s, 30)
        self.sway, self.sway_period_s = draws.uniform(0, 0.05), draws.uniform(20, 40)

    def at(self, times_s: torch.Tensor) -> torch.Tensor:
        breath = torch.searchsorted(self.starts_s, times_s, right=True) - 1
        phase = phase_between(self.starts_s, times_s)
        inhaled = self.depths[breath] * torch.sin(math.pi * phase) ** 4
        slow = self.drift_per_s * times_s + self.sway * torch.sin(2 * math.pi * times_s / self.sway_period_s)
        return inhaled + slow


def _r_waves(duration_s: float, breathing: _Breathing, draws: Draws, is_irregular: bool) -> torch.Tensor:
    usual_s = draws.uniform(0.75, 1.05)
    waves_s, pause = [-usual_s * draws.uniform()], 1.0
    while waves_s[-1] <= duration_s:
        inhaled = float(breathing.at(torch.tensor([max(waves_s[-1], 0.0)], dtype=torch.float64)))
        interval_s = usual_s * pause * (1 + 0.03 * float(draws.normal()) - 0.04 * (inhaled - 0.4))
        pause = 1.0
        if is_irregular and draws.chance(1 / 6):
            interval_s, pause = 0.65 * interval_s, 1.35
        waves_s.append(waves_s[-1] + interval_s)
    return torch.tensor(waves_s, dtype=torch.float64)
