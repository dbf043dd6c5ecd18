"""mDCN: dense blocks, dilated, between backprojected feature maps and those of the image series."""

from __future__ import annotations

import torch

from recon_core.nets.architecture import Architecture, Count
from recon_core.nets.convolution import Convolution
from recon_core.nets.dense_block import DenseBlock
from recon_core.nets.feature_maps import FeatureMaps, instance_normalised, require_rank
from recon_core.nets.features import channels_last


class MDCN(Architecture, frozen=True):
    """Configuration of an `MDCNNetwork`; as it stands, the network of the dissertation."""

    takes = FeatureMaps

    n_maps: Count = 32
    """L, the rank of the temporal basis."""
    n_blocks: Count = 8
    growth: Count = 128
    """Features that each convolution adds."""
    dilations: tuple[Count, ...] = (1, 4, 8, 1)
    """Of the convolutions of every block; the dissertation compares 1-1-1-1, 1-2-4-1 and 1-4-8-1."""
    residual: bool = False
    """Whether the network gives what is to be added to the backprojection; the dissertation has it give the
    maps."""

    def build(self) -> torch.nn.Module:
        return MDCNNetwork(self)


class MDCNNetwork(torch.nn.Module):
    """U = g(U₀), instance normalised: a stem, eight dense blocks, and all of their outputs by a final 1 x 1.

    Each block of four 3 x 3 convolutions with ELUs is preceded by a 1 x 1 compressor, over the stem and all
    blocks before it. Chen 2021 (dissertation, UCLA), chapter 6, after mDCSRN (Chen et al. 2018,
    arXiv:1803.01417).

    *Open* there, chosen here: stem and compressors have 2 k features (k the growth), as those of mDCSRN;
    the compressors are linear; what a block puts out holds its input, as drawn for mDCSRN.
    """

    def __init__(self, config: MDCN) -> None:
        super().__init__()
        self.config = config
        self.backbone = MultiLevel(2 * config.n_maps, config)
        channels_last(self)

    def forward(self, feature_maps: FeatureMaps, anatomy: str | None = None) -> torch.Tensor:
        """`(slice, L, y, x)` complex feature maps of normalised slices. `anatomy` makes no difference.

        Raises:
            InputError: another number of maps than `n_maps`.
        """
        require_rank("MDCN", feature_maps.maps, self.config.n_maps)
        return instance_normalised(self.backbone, feature_maps.maps, residual=self.config.residual)


class MultiLevel(torch.nn.Module):
    """The network between its normalisations: channels to channels."""

    def __init__(self, n_channels: int, config: MDCN) -> None:
        super().__init__()
        width = 2 * config.growth
        self.stem = Convolution(n_channels, width)
        self.blocks = torch.nn.ModuleList(
            DenseBlock(width, config.growth, config.dilations) for _ in range(config.n_blocks)
        )
        n_of_block = width + config.growth * len(config.dilations)
        self.compressors = torch.nn.ModuleList(
            Convolution(width + number * n_of_block, width, 1) for number in range(config.n_blocks)
        )
        self.last = Convolution(width + config.n_blocks * n_of_block, n_channels, 1)

    def forward(self, channels: torch.Tensor) -> torch.Tensor:
        """`(slice, n_channels, y, x)` to the same."""
        seen = self.stem(channels)
        for compressor, block in zip(self.compressors, self.blocks, strict=True):
            seen = torch.cat([seen, block(compressor(seen))], dim=1)
        combined: torch.Tensor = self.last(seen)
        return combined
