"""Bases from Bloch's equations hold the signals of tissues that no dictionary lists."""

import pytest
import torch

from recon_core.dynamic.bloch import InversionRecovery, recovery_signal
from recon_core.dynamic.dictionary_basis import flip_angle_basis, recovery_basis, t2_decay_basis
from recon_core.dynamic.spoiled_echo import spoiled_echo
from recon_core.errors import InputError

T1_MS = torch.tensor([163.0, 457.0, 1333.0, 2222.0], dtype=torch.float64)


def left_out(signals: torch.Tensor, rows: torch.Tensor) -> float:
    """The largest share of a signal's norm outside the basis."""
    rows = rows.double()
    outside = signals - signals @ rows.mT @ rows
    return float((outside.norm(dim=-1) / signals.norm(dim=-1)).max())


def test_recoveries_of_any_t1_and_efficiency_are_in_the_basis() -> None:
    basis = recovery_basis(InversionRecovery())
    assert basis.rows.shape[1] == 688
    assert basis.rank <= 5
    signals = recovery_signal(T1_MS, InversionRecovery(inversion_efficiency=0.9))
    assert left_out(signals, basis.rows) < 0.02
    assert left_out(signals, recovery_basis(InversionRecovery(), rank=8).rows) < 1e-3


def test_decays_of_any_t2_are_in_the_basis() -> None:
    times = torch.arange(1, 33) * 8.0
    signals = torch.exp(-times.double() / torch.tensor([[13.0], [47.0], [90.0], [333.0]]))
    assert left_out(signals, t2_decay_basis(times, rank=4).rows) < 0.02


def test_echoes_of_any_t1_and_flip_angle_scale_are_in_the_basis() -> None:
    angles_deg = torch.arange(1.0, 20.0, 2.0)
    signals = spoiled_echo(T1_MS[:, None], 0.93 * torch.deg2rad(angles_deg.double()), 5.38)
    assert left_out(signals, flip_angle_basis(angles_deg, 5.38, rank=3).rows) < 0.02


def test_relaxation_times_without_order_are_refused() -> None:
    with pytest.raises(InputError, match="the shortest and the longest"):
        t2_decay_basis(torch.arange(1, 5), t2_range_ms=(100.0, 10.0))
