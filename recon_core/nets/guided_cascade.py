"""The multi-coil network that we ship, guided by an earlier image of another contrast."""

from __future__ import annotations

import torch

from recon_core.nets.architecture import Count
from recon_core.nets.features import to_channels
from recon_core.nets.guide import explained, present
from recon_core.nets.guided_attention import GatedGuidance
from recon_core.nets.multiscale import FOLD, Fusion, Residual, folded_channels
from recon_core.nets.unrolled import Unrolled, UnrolledNetwork

N_SHOWN = 5
"""Channels that a guide's stream sees: the guide, what it explains that is not in the image, and how much."""


class GuidedCascade(Unrolled, frozen=True):
    """Configuration of an `UnrolledNetwork` with `Guidance`."""

    wants_guide = True

    guide_widths: tuple[Count, Count] = (32, 48)
    """Features of the guide's streams on a half and on a quarter of the grid."""

    def build(self) -> torch.nn.Module:
        return UnrolledNetwork(self, Guidance(self))


class Guidance(torch.nn.Module):
    """A stream of features from the guide beside each network of the cascade, and their way into it.

    What MANet (Feng et al. 2021, arXiv:2110.08080) does on every level, down and up, for multi-coil data that
    are consistent after each network, and made to do no harm: each stream is shown, beside the guide with the
    image's phase, what of the image goes with the guide (`explained`, which a wrong guide does not), and its
    features pass a gate (`GatedGuidance`). Without a guide, and with new weights, the cascade is the unguided
    one, whose weights fit.
    """

    def __init__(self, config: GuidedCascade) -> None:
        super().__init__()
        self.streams = torch.nn.ModuleList(
            _Stream(config.widths, config.guide_widths) for _ in range(config.n_cascades)
        )

    def forward(self, number: int, image: torch.Tensor, guide: torch.Tensor) -> tuple[Fusion, Fusion, Fusion]:
        """What the network of that number is to do with its features.

        Args:
            number: of the network in the cascade, from zero.
            image: `(slice, y, x)` complex, as good as it is by now.
            guide: `(slice, y, x)` real, zero for slices without one.
        """
        in_image, share, phase = explained(image, guide)
        shown = torch.cat([to_channels(guide * phase), to_channels(in_image - image), share], dim=1)
        fusions: tuple[Fusion, Fusion, Fusion] = self.streams[number](shown, present(guide))
        return fusions


class _Stream(torch.nn.Module):
    def __init__(self, widths: tuple[int, int], guide_widths: tuple[int, int]) -> None:
        super().__init__()
        (fine, coarse), (guide_fine, guide_coarse) = widths, guide_widths
        self.first = torch.nn.Conv2d(FOLD**2 * N_SHOWN, guide_fine, kernel_size=3, padding=1)
        self.fine = Residual(guide_fine)
        self.down = torch.nn.Conv2d(guide_fine, guide_coarse, kernel_size=2, stride=2)
        self.coarse = Residual(guide_coarse)
        self.on_way_down = GatedGuidance(fine, guide_fine)
        self.deepest = GatedGuidance(coarse, guide_coarse)
        self.on_way_up = GatedGuidance(fine, guide_fine)

    def forward(self, shown: torch.Tensor, has_guide: torch.Tensor) -> tuple[Fusion, Fusion, Fusion]:
        folded = folded_channels(shown).contiguous(memory_format=torch.channels_last)
        fine = self.fine(torch.relu_(self.first(folded)))
        coarse = self.coarse(torch.relu_(self.down(fine)))
        return (
            lambda features: self.on_way_down(features, fine, has_guide),
            lambda features: self.deepest(features, coarse, has_guide),
            lambda features: self.on_way_up(features, fine, has_guide),
        )
