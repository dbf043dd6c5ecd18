"""The steady-state signal of spoiled gradient echoes."""

import torch


def spoiled_echo(t1_ms: torch.Tensor, angles_rad: torch.Tensor, tr_ms: float) -> torch.Tensor:
    """s = sin α (1 − E)/(1 − E cos α), E = e^(−TR/T1), of unit proton density; arguments broadcast.

    Ernst & Anderson 1966, doi:10.1063/1.1719961. Left out: T2* decay until the echo, slice profile.
    """
    recovery = torch.exp(-tr_ms / t1_ms)
    return torch.sin(angles_rad) * (1 - recovery) / (1 - recovery * torch.cos(angles_rad))
