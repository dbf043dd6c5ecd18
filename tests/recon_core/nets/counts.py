"""What a network holds, counted as papers count."""

from collections.abc import Iterable

import torch


def n_values(tensors: Iterable[torch.Tensor]) -> int:
    """Values of parameters or running statistics; the counters that batch norms keep beside them are none."""
    return sum(tensor.numel() for tensor in tensors if tensor.is_floating_point())


def n_held(network: torch.nn.Module) -> int:
    """What a file of its weights holds: parameters and running statistics."""
    return n_values(network.state_dict().values())
