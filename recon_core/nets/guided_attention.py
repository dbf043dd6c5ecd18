"""Attention that lets the features of one contrast guide those of another."""

from __future__ import annotations

from typing import Literal

import torch

from recon_core.nets.convolution import Convolution, silence

Order = Literal["CS", "SC", "SC-CS"]

REDUCTION, FEWEST = 16, 4
"""Of the features inside channel attention: a share, but so many at least, for ReLUs may end at zero."""
GATE_FEATURES = 16
"""As many as a vector of the CPU holds: fewer take as long."""


class ChannelAttention(torch.nn.Module):
    """s ⊗ f with s = σ(W₂ ReLU(W₁ max_{y,x} f)): which features matter."""

    def __init__(self, n_features: int) -> None:
        super().__init__()
        n_inside = max(FEWEST, n_features // REDUCTION)
        self.squeeze = torch.nn.Linear(n_features, n_inside, bias=False)
        self.excite = torch.nn.Linear(n_inside, n_features, bias=False)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        strongest = features.amax((-2, -1))
        weights = torch.sigmoid(self.excite(torch.relu(self.squeeze(strongest))))
        return features * weights[:, :, None, None]


class SpatialAttention(torch.nn.Module):
    """m ⊗ f with m = σ(conv₇ₓ₇(max_c f)): where they do."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = Convolution(1, 1, 7, bias=False)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features * torch.sigmoid(self.convolution(features.amax(1, keepdim=True)))


class Attention(torch.nn.Sequential):
    """The guide's features f^s as attention leaves them: channel then spatial (CS), the reverse, or both."""

    def __init__(self, n_features: int, order: Order) -> None:
        super().__init__(
            *(
                ChannelAttention(n_features) if kind == "C" else SpatialAttention()
                for kind in order.replace("-", "")
            )
        )


class GuidedAttention(torch.nn.Module):
    """f̂ = f ⊗ f^s + f, of the target's features f and the guide's.

    MANet (Feng et al. 2021, arXiv:2110.08080), equations 10 to 15. *Open* there, chosen here: fully-connected
    layers without bias, inside of them a sixteenth of the features, as in the authors' code; SC-CS is one
    after the other.
    """

    def __init__(self, n_features: int, order: Order) -> None:
        super().__init__()
        self.attention = Attention(n_features, order)

    def forward(self, target: torch.Tensor, guide: torch.Tensor) -> torch.Tensor:
        modulated: torch.Tensor = target * self.attention(guide)
        return modulated + target


class GatedGuidance(torch.nn.Module):
    """f̂ = f + γ ⊗ (f ⊗ A f^s + B f^s) with γ = σ(G(f, h)): guidance that can shut itself off.

    `GuidedAttention` never compares the guide with the target, so that a wrong guide is followed as a right
    one. Here a gate γ for each pixel sees both, and the whole image's mean of what it sees. A and B, 1 x 1
    convolutions, start at zero: a new module, and one without a guide, leaves the target's features as they
    are. Beyond MANet, whose attention (channel, then spatial) makes f^s of the guide's features h.
    """

    def __init__(self, n_target: int, n_guide: int) -> None:
        super().__init__()
        self.attention = Attention(n_guide, "CS")
        self.scale_and_shift = Convolution(n_guide, 2 * n_target, 1)
        silence(self.scale_and_shift)
        self.compared = Convolution(n_target + n_guide, GATE_FEATURES)
        self.gate = Convolution(2 * GATE_FEATURES, 1, 1)

    def forward(self, target: torch.Tensor, guide: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        """`present`, `(slice, 1, 1, 1)`, is zero for slices without a guide."""
        compared = torch.relu_(self.compared(torch.cat([target, guide], dim=1)))
        overall = compared.mean((-2, -1), keepdim=True).expand_as(compared)
        gate = torch.sigmoid(self.gate(torch.cat([compared, overall], dim=1))) * present
        scale, shift = self.scale_and_shift(self.attention(guide)).chunk(2, dim=1)
        fused: torch.Tensor = target + gate * (target * scale + shift)
        return fused
