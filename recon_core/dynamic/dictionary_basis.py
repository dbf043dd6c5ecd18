"""Temporal bases from Bloch's equations, known before a scan begins."""

import math
from dataclasses import replace

import torch

from recon_core.dynamic.bloch import InversionRecovery, recovery_signal
from recon_core.dynamic.spoiled_echo import spoiled_echo
from recon_core.dynamic.temporal_basis import TemporalBasis, temporal_basis
from recon_core.errors import InputError

N_SIGNALS = 256
"""Relaxation times of a dictionary, evenly spaced on a logarithmic scale."""


def recovery_basis(
    sequence: InversionRecovery,
    *,
    t1_range_ms: tuple[float, float] = (100.0, 3000.0),
    rank: int | None = None,
    energy: float = 0.9999,
) -> TemporalBasis:
    """(L, pulse) of inversion-recovery FLASH between inversions, for all T1 and efficiencies that occur.

    Inversion efficiencies from 0.7 to 1, whatever the sequence's. Arguments as for `temporal_basis`.
    """
    t1_ms = _relaxation_times(t1_range_ms)
    signals = [
        recovery_signal(t1_ms, replace(sequence, inversion_efficiency=efficiency))
        for efficiency in (0.7, 0.85, 1.0)
    ]
    return _dictionary_basis(torch.cat(signals), rank, energy)


def t2_decay_basis(
    echo_times_ms: torch.Tensor,
    *,
    t2_range_ms: tuple[float, float] = (10.0, 500.0),
    rank: int | None = None,
    energy: float = 0.9999,
) -> TemporalBasis:
    """(L, echo) of e^(−TE/T2). Huang et al. 2012, doi:10.1002/mrm.23128."""
    times = echo_times_ms.double()
    return _dictionary_basis(torch.exp(-times / _relaxation_times(t2_range_ms)[:, None]), rank, energy)


def flip_angle_basis(
    flip_angles_deg: torch.Tensor,
    tr_ms: float,
    *,
    t1_range_ms: tuple[float, float] = (100.0, 5000.0),
    flip_angle_scales: tuple[float, ...] = (0.7, 0.85, 1.0, 1.15, 1.3),
    rank: int | None = None,
    energy: float = 0.9999,
) -> TemporalBasis:
    """(L, flip angle) of spoiled echoes over a range of T1 and of actual over nominal flip angles."""
    t1_ms, angles_rad = _relaxation_times(t1_range_ms)[:, None], torch.deg2rad(flip_angles_deg.double())
    signals = [spoiled_echo(t1_ms, scale * angles_rad, tr_ms) for scale in flip_angle_scales]
    return _dictionary_basis(torch.cat(signals), rank, energy)


def _dictionary_basis(signals: torch.Tensor, rank: int | None, energy: float) -> TemporalBasis:
    """Of signals of equal weight, whatever their strength; single precision, as data are."""
    unit = signals / signals.norm(dim=-1, keepdim=True)
    basis = temporal_basis(unit, rank=rank, energy=energy)
    return TemporalBasis(basis.rows.float(), basis.singular_values.float())


def _relaxation_times(range_ms: tuple[float, float]) -> torch.Tensor:
    shortest, longest = range_ms
    if not 0 < shortest < longest:
        raise InputError(
            f"dictionary basis: expected relaxation times from above 0 ms upwards, got {range_ms}; give the "
            "shortest and the longest"
        )
    return torch.logspace(math.log10(shortest), math.log10(longest), N_SIGNALS, dtype=torch.float64)
