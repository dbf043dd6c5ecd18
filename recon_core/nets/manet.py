"""MANet: two contrasts through two networks each, first in k-space, then as images; one guides the other."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch.nn.functional import avg_pool2d, pad

from recon_core.fourier import fft, ifft
from recon_core.nets.architecture import Architecture, Count, Weight
from recon_core.nets.consistency import Measured, data_consistency
from recon_core.nets.convolution import Convolution
from recon_core.nets.dense_block import DenseBlock
from recon_core.nets.features import channels_last, to_channels, to_image
from recon_core.nets.guide import guide_magnitudes
from recon_core.nets.guided_attention import GuidedAttention, Order
from recon_core.nets.switched import SwitchedNetwork
from recon_core.nets.undersampled import Undersampled

Fusion = Literal["attention", "features", "input", "none"]
N_LAYERS = 4


class MANet(Architecture, frozen=True):
    """Configuration of a `MANetNetwork`; as it stands, the network of the paper."""

    wants_guide = True

    fusion: Fusion = "attention"
    """How the guide comes in: by attention; its features concatenated with the target's (the paper's "without
    T1-GA"); concatenated with the target's input, in one stream (early fusion); or not at all."""
    order: Order = "CS"
    """Of channel and spatial attention."""
    kspace_stage: bool = True
    n_levels: Count = 4
    """Times that the grid is halved."""
    n_features: Count = 64
    """On every level."""
    growth: Count = 16
    """Features that each of the four convolutions of a dense block adds."""
    consistency_weight: Weight | None = 0.0
    """λ of `data_consistency` after each stage; None for an infinite one, 0 for none, as in the paper."""
    consistency_iterations: Count = 10
    """Of conjugate gradients, where there are coil maps and λ is finite."""

    def build(self) -> torch.nn.Module:
        return MANetNetwork(self)


class Stage(NamedTuple):
    """What came out of one of the two stages, in its domain, `(slice, y, x)` complex."""

    domain: Literal["kspace", "image"]
    target: torch.Tensor
    guide: torch.Tensor | None
    """None where there is one stream only."""


class MANetNetwork(SwitchedNetwork):
    """x = DC(I(F⁻¹ K(F x₀, F g), g)), with two streams in K and in I, for the target x and the guide g.

    Feng et al. 2021, arXiv:2110.08080. In each stage a Dense-UNet for each contrast; at every level, down and
    up, the guide's features modulate the target's (`GuidedAttention`). The guide is reproduced too, for the
    loss (`recon_core.training.losses.hybrid_loss`).

    The text of the paper is followed where the authors' code departs from it: dense blocks concatenate, both
    streams have skip connections, the target's stream is not given the guide a second time at its input.
    Departs from both: the transform between the stages is the centred one, images stay complex after it, what
    the target's stream gives is added to its input, and data consistency with all coils, of which there is
    none in the paper, may follow each stage. *Open* in the paper, chosen here: each stream enters a stage
    with a root mean square of one; no normalisation inside, mean pooling, a 1 x 1 convolution behind each
    dense block.
    """

    def __init__(self, config: MANet) -> None:
        super().__init__(())
        self.config = config
        self.kspace_stage = _Streams(config) if config.kspace_stage else None
        self.image_stage = _Streams(config)
        channels_last(self)

    def forward(self, undersampled: Undersampled, anatomy: str | None = None) -> torch.Tensor:
        """`(slice, y, x)` complex images of normalised slices; a guide that is missing is zero."""
        return self.stages(undersampled)[-1].target

    def stages(self, undersampled: Undersampled) -> list[Stage]:
        """What each stage gives, the image stage last."""
        measured = Measured(undersampled)
        target, guide = measured.zero_filled, guide_magnitudes(undersampled)
        guide = torch.complex(guide, torch.zeros_like(guide))
        stages: list[Stage] = []
        if self.kspace_stage is not None:
            added, kspace_of_guide = self.kspace_stage(*(fft(image, (-2, -1)) for image in (target, guide)))
            kspace = fft(target, (-2, -1)) + added
            stages.append(Stage("kspace", kspace, kspace_of_guide))
            target = self._consistent(ifft(kspace, (-2, -1)), measured)
            guide = guide if kspace_of_guide is None else ifft(kspace_of_guide, (-2, -1))
        added, image_of_guide = self.image_stage(target, guide)
        stages.append(Stage("image", self._consistent(target + added, measured), image_of_guide))
        return stages

    def _consistent(self, image: torch.Tensor, measured: Measured) -> torch.Tensor:
        weight, n_iterations = self.config.consistency_weight, self.config.consistency_iterations
        return image if weight == 0 else data_consistency(image, measured, weight, n_iterations)


class _Streams(torch.nn.Module):
    """One stage: what is to be added to the target, and the guide again."""

    def __init__(self, config: MANet) -> None:
        super().__init__()
        self.fusion = config.fusion
        self.target = _DenseUNet(config, n_in=4 if config.fusion == "input" else 2)
        n_blocks = 2 * config.n_levels + 1
        if config.fusion in ("attention", "features"):
            self.guide = _DenseUNet(config, n_in=2)
            self.fusions = torch.nn.ModuleList(
                GuidedAttention(config.n_features, config.order)
                if config.fusion == "attention"
                else _Concatenated(config.n_features)
                for _ in range(n_blocks)
            )

    def forward(self, target: torch.Tensor, guide: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        x, scale = _at_unit_power(to_channels(target))
        g, scale_of_guide = _at_unit_power(to_channels(guide))
        if self.fusion in ("input", "none"):
            of_target, _ = self.target(torch.cat([x, g], dim=1) if self.fusion == "input" else x)
            return to_image(of_target) * scale[:, 0], None
        of_guide, features = self.guide(g)
        of_target, _ = self.target(x, features, self.fusions)
        return to_image(of_target) * scale[:, 0], to_image(of_guide) * scale_of_guide[:, 0]


class _DenseUNet(torch.nn.Module):
    """One stream; after each dense block, features of another stream may be fused in."""

    def __init__(self, config: MANet, n_in: int) -> None:
        super().__init__()
        n = config.n_features
        self.multiple = 1 << config.n_levels
        self.n_levels = config.n_levels
        self.first = Convolution(n_in, n, 1)
        self.blocks = torch.nn.ModuleList(_Block(n, config.growth) for _ in range(2 * config.n_levels + 1))
        self.transposed = torch.nn.ModuleList(
            torch.nn.ConvTranspose2d(n, n, kernel_size=2, stride=2) for _ in range(config.n_levels)
        )
        self.merging = torch.nn.ModuleList(Convolution(2 * n, n) for _ in range(config.n_levels))
        self.last = Convolution(n, 2, 1)

    def forward(
        self,
        channels: torch.Tensor,
        guide_features: list[torch.Tensor] | None = None,
        fusions: torch.nn.ModuleList | None = None,
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """`(slice, 2, y, x)`, and the features behind each block."""
        n_y, n_x = channels.shape[-2:]
        x = self.first(pad(channels, (0, -n_x % self.multiple, 0, -n_y % self.multiple)))
        features: list[torch.Tensor] = []
        for number, block in enumerate(self.blocks):
            level = number - self.n_levels - 1
            if 0 < number <= self.n_levels:
                x = avg_pool2d(x, 2)
            elif level >= 0:
                beside = features[self.n_levels - 1 - level]
                x = torch.cat([self.transposed[level](x), beside], dim=1)
                x = torch.relu_(self.merging[level](x))
            x = block(x)
            if guide_features is not None and fusions is not None:
                x = fusions[number](x, guide_features[number])
            features.append(x)
        return self.last(x)[..., :n_y, :n_x], features


class _Block(torch.nn.Sequential):
    """Four densely connected convolutions with ReLUs, and a 1 x 1 back to the width."""

    def __init__(self, n_features: int, growth: int) -> None:
        dense = DenseBlock(n_features, growth, [1] * N_LAYERS, torch.nn.ReLU(inplace=True))
        super().__init__(dense, Convolution(dense.n_out, n_features, 1))


class _Concatenated(torch.nn.Module):
    """A 1 x 1 convolution of both streams' features: fusion without attention."""

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.convolution = Convolution(2 * n_features, n_features, 1)

    def forward(self, target: torch.Tensor, guide: torch.Tensor) -> torch.Tensor:
        merged: torch.Tensor = self.convolution(torch.cat([target, guide], dim=1))
        return merged


def _at_unit_power(channels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The channels over their root mean square, and that, `(slice, 1, 1, 1)`; one for an empty slice."""
    power = channels.square().mean((1, 2, 3), keepdim=True).sqrt()
    power = torch.where(power > 0, power, 1)
    return channels / power, power
