"""The signal of inversion-recovery FLASH: inversions at a fixed interval, pulses without pause in between.

Transverse magnetisation is taken as spoiled before every pulse, so each isochromat is its longitudinal
magnetisation m, in units of the equilibrium's. With E = exp(−TR/T1) and flip angle α a pulse and the time to
the next take m to E·cos(α)·m + 1 − E: a geometric approach, with q = E·cos α, to the driven steady state
m_ss = (1 − E)/(1 − q). Look & Locker 1970, doi:10.1063/1.1684482; Deichmann & Haase 1992,
doi:10.1016/0022-2364(92)90347-A. Left out: T2* decay until the echo, slice profile, inflow.
"""

import math
from dataclasses import dataclass

import torch

from recon_core.errors import InputError


@dataclass(frozen=True, kw_only=True)
class InversionRecovery:
    """The sequence. 688 pulses are 344 pairs of a navigator and an imaging readout.

    Raises InputError for times, counts or angles that no sequence has.
    """

    tr_ms: float = 3.6
    """From one pulse to the next."""
    flip_angle_deg: float = 5.0
    n_pulses: int = 688
    """From one inversion to the next."""
    delay_ms: float = 7.2
    """From the inversion to the first pulse; the last pulse is one TR before the next inversion."""
    inversion_efficiency: float = 0.95
    """η: an inversion takes m to −η·m."""

    def __post_init__(self) -> None:
        if not (
            self.tr_ms > 0
            and self.delay_ms >= 0
            and 0 < self.flip_angle_deg < 90
            and self.n_pulses >= 1
            and -1 <= self.inversion_efficiency <= 1
        ):
            raise InputError(
                "InversionRecovery: expected a positive TR, a flip angle between 0 and 90 degrees, at least "
                f"one pulse, no negative delay and an inversion efficiency of at most 1, got {self}"
            )

    @property
    def inversion_times_ms(self) -> torch.Tensor:
        """`(pulse,)` float64: from the inversion to each pulse."""
        return self.delay_ms + self.tr_ms * torch.arange(self.n_pulses, dtype=torch.float64)

    @property
    def interval_ms(self) -> float:
        """From one inversion to the next."""
        return self.delay_ms + self.tr_ms * self.n_pulses


def recovery_signal(t1_ms: torch.Tensor, sequence: InversionRecovery) -> torch.Tensor:
    """`(*t1, pulse)`: the signal between two inversions once all intervals have become the same.

    s_n = sin(α)·(m_ss + (m_1 − m_ss)·qⁿ), m_1 at the first pulse such that the last leads back to it. Unit
    proton density; the sign is that of the longitudinal magnetisation.

    Raises InputError for a T1 that is not positive.
    """
    decays = _Decays(t1_ms, sequence)
    return decays.signal(decays.periodic_start())


def scan_signal(t1_ms: torch.Tensor, sequence: InversionRecovery, n_recoveries: int) -> torch.Tensor:
    """`(*t1, recovery, pulse)`: the signal from the scan's first inversion, of equilibrium, on.

    Each interval begins where the last one ended. Raises InputError for a T1 that is not positive.
    """
    decays = _Decays(t1_ms, sequence)
    before_inversion, recoveries = torch.ones_like(decays.steady), []
    for _ in range(n_recoveries):
        first = decays.after_inversion(before_inversion)
        recoveries.append(decays.signal(first))
        before_inversion = decays.at_pulse(first, sequence.n_pulses)
    return torch.stack(recoveries, dim=-2)


def apparent_t1_ms(t1_ms: torch.Tensor, sequence: InversionRecovery) -> torch.Tensor:
    """T1*, with which the pulses drive m to their steady state: 1/T1* = 1/T1 − ln(cos α)/TR."""
    return 1 / (1 / t1_ms - math.log(math.cos(math.radians(sequence.flip_angle_deg))) / sequence.tr_ms)


class _Decays:
    """What one interval between pulses, and the delay after an inversion, do to m at each T1."""

    def __init__(self, t1_ms: torch.Tensor, sequence: InversionRecovery) -> None:
        if not bool((t1_ms > 0).all()):
            raise InputError(
                f"{__name__}: expected T1 above 0 ms, got {float(t1_ms.min())}; mask what has no signal"
            )
        flip_angle_rad = math.radians(sequence.flip_angle_deg)
        self.sequence, self.sine = sequence, math.sin(flip_angle_rad)
        recovery = torch.exp(-sequence.tr_ms / t1_ms)
        self.q = recovery * math.cos(flip_angle_rad)
        self.steady = (1 - recovery) / (1 - self.q)
        self.delay = torch.exp(-sequence.delay_ms / t1_ms)

    def after_inversion(self, m: torch.Tensor) -> torch.Tensor:
        """m at the first pulse after an inversion of `m`."""
        return 1 - self.delay * (1 + self.sequence.inversion_efficiency * m)

    def at_pulse(self, first: torch.Tensor, n: int) -> torch.Tensor:
        """m at the n-th pulse after the first."""
        return self.steady + (first - self.steady) * self.q**n

    def periodic_start(self) -> torch.Tensor:
        """The m at the first pulse that comes back after one interval: a fixed point of an affine map."""
        constant = self.after_inversion(self.at_pulse(torch.zeros_like(self.q), self.sequence.n_pulses))
        slope = -self.delay * self.sequence.inversion_efficiency * self.q**self.sequence.n_pulses
        return constant / (1 - slope)

    def signal(self, first: torch.Tensor) -> torch.Tensor:
        n = torch.arange(self.sequence.n_pulses, device=self.q.device)
        powers = self.q[..., None] ** n
        return self.sine * (self.steady[..., None] + (first - self.steady)[..., None] * powers)
