"""Anatomy-specific instance normalisation."""

from functools import partial

import torch

from recon_core.nets.instance_norm import instance_norm_
from recon_core.nets.switched import PerAnatomy


class ASPIN(torch.nn.Module):
    """γ_a (h − μ) / σ + β_a, with mean and standard deviation of each channel of each slice.

    Liu et al. 2021, arXiv:2103.05214. Every anatomy a has its own γ and β, one and zero to begin with;
    without any anatomy this is the identity.
    """

    def __init__(self, n_features: int, anatomies: tuple[str, ...]) -> None:
        super().__init__()
        self.affine = PerAnatomy(partial(_Affine, n_features), anatomies)

    def forward(self, features: torch.Tensor, anatomy: str | None) -> torch.Tensor:
        return features if anatomy is None else self.affine[anatomy](features)


class _Affine(torch.nn.Module):
    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(n_features))
        self.bias = torch.nn.Parameter(torch.zeros(n_features))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return instance_norm_(features, self.weight, self.bias)
