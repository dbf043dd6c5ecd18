"""DenseUnet: the dense blocks of mDCN on several resolutions."""

from __future__ import annotations

import torch
from torch.nn.functional import avg_pool2d, pad

from recon_core.nets.architecture import Architecture, Count
from recon_core.nets.convolution import Convolution
from recon_core.nets.dense_block import DenseBlock
from recon_core.nets.feature_maps import FeatureMaps, instance_normalised, require_rank
from recon_core.nets.features import channels_last


class DenseUnet(Architecture, frozen=True):
    """Configuration of a `DenseUnetNetwork`; as it stands, the network of the dissertation."""

    takes = FeatureMaps

    n_maps: Count = 32
    """L, the rank of the temporal basis."""
    n_levels: Count = 4
    """Resolutions, the full one included."""
    growth: Count = 128
    """Features that each convolution adds."""
    dilations: tuple[Count, ...] = (1, 1, 1, 1)
    """Of the convolutions of every block."""
    residual: bool = False
    """Whether the network gives what is to be added to the backprojection; the dissertation has it give the
    maps."""

    def build(self) -> torch.nn.Module:
        return DenseUnetNetwork(self)


class DenseUnetNetwork(torch.nn.Module):
    """U = g(U₀), instance normalised: a U-Net of the dense blocks of `MDCN`.

    Mean pooling, 2 x 2 transposed convolutions and a stem of 2 k features (k the growth), as chapter 7 of the
    dissertation draws its DenseUnet; chapter 6 compares it with mDCN (Chen 2021, UCLA). There are no
    compressors, which are mDCN's: it is the smaller network. *Open*, chosen here: transposed convolutions
    give 2 k features.
    """

    def __init__(self, config: DenseUnet) -> None:
        super().__init__()
        self.config = config
        self.backbone = DenseLevels(2 * config.n_maps, config)
        channels_last(self)

    def forward(self, feature_maps: FeatureMaps, anatomy: str | None = None) -> torch.Tensor:
        """`(slice, L, y, x)` complex feature maps of normalised slices. `anatomy` makes no difference.

        Raises:
            InputError: another number of maps than `n_maps`.
        """
        require_rank("DenseUnet", feature_maps.maps, self.config.n_maps)
        return instance_normalised(self.backbone, feature_maps.maps, residual=self.config.residual)


class DenseLevels(torch.nn.Module):
    """The network between its normalisations: channels to channels, of any size."""

    def __init__(self, n_channels: int, config: DenseUnet) -> None:
        super().__init__()
        width = 2 * config.growth
        n_halvings = config.n_levels - 1
        self.multiple = 1 << n_halvings
        self.stem = Convolution(n_channels, width)

        def block(n_in: int) -> DenseBlock:
            return DenseBlock(n_in, config.growth, config.dilations)

        down = [block(width)]
        for _ in range(n_halvings):
            down.append(block(down[-1].n_out))
        self.down = torch.nn.ModuleList(down)
        up = [down.pop()]
        transposed = []
        for beside in reversed(down):
            transposed.append(torch.nn.ConvTranspose2d(up[-1].n_out, width, kernel_size=2, stride=2))
            up.append(block(width + beside.n_out))
        self.transposed = torch.nn.ModuleList(transposed)
        self.up = torch.nn.ModuleList(up[1:])
        self.last = Convolution(up[-1].n_out, n_channels, 1)

    def forward(self, channels: torch.Tensor) -> torch.Tensor:
        """`(slice, n_channels, y, x)` to the same."""
        n_y, n_x = channels.shape[-2:]
        x = self.stem(pad(channels, (0, -n_x % self.multiple, 0, -n_y % self.multiple)))
        *levels, deepest = self.down
        skipped = []
        for level in levels:
            x = level(x)
            skipped.append(x)
            x = avg_pool2d(x, 2)
        x = deepest(x)
        for transposed, level in zip(self.transposed, self.up, strict=True):
            x = level(torch.cat([transposed(x), skipped.pop()], dim=1))
        combined: torch.Tensor = self.last(x)
        return combined[..., :n_y, :n_x]
