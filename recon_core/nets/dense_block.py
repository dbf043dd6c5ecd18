"""The densely connected block that several networks are made of."""

from collections.abc import Sequence

import torch

from recon_core.nets.convolution import Convolution


class DenseBlock(torch.nn.Module):
    """x, h₁, … h_u with h_i = act(conv₃ₓ₃(x, h₁, … h_{i−1})), the k-th convolution dilated as told.

    Huang et al. 2017, doi:10.1109/CVPR.2017.243; without normalisation, as in the networks for feature maps
    of the dissertation. Activations come behind the convolutions: since nothing is normalised in between,
    each is computed once, and not anew for every convolution that sees its features.
    """

    def __init__(
        self, n_in: int, growth: int, dilations: Sequence[int], activation: torch.nn.Module | None = None
    ) -> None:
        """`activation` is an ELU unless told."""
        super().__init__()
        self.activation = activation or torch.nn.ELU(inplace=True)
        self.convolutions = torch.nn.ModuleList(
            Convolution(n_in + number * growth, growth, dilation=dilation)
            for number, dilation in enumerate(dilations)
        )
        self.n_out = n_in + growth * len(dilations)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`(slice, n_out, y, x)` of `(slice, n_in, y, x)`."""
        for convolution in self.convolutions:
            x = torch.cat([x, self.activation(convolution(x))], dim=1)
        return x
