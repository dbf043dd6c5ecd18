"""A small two-level convolutional network that sees far for its cost."""

from collections.abc import Callable

import torch
from torch.nn.functional import pad, pixel_shuffle, pixel_unshuffle

from recon_core.nets.convolution import silence

Fusion = Callable[[torch.Tensor], torch.Tensor]
"""What another network makes of features on their way, of the same size."""

FOLD = 2
"""Pixels along each axis that become channels before the first convolution."""
MULTIPLE = 2 * FOLD
"""Lengths that are no multiple of this are padded."""


class TwoScales(torch.nn.Module):
    """Channels to channels of the same size: 3 x 3 residual blocks on a half and on a quarter of the grid.

    Squares of 2 x 2 pixels are folded into channels first (Shi et al. 2016, arXiv:1609.05158; for noise
    removal with a map of its level: Zhang et al. 2018, arXiv:1710.04026), which makes a convolution cost a
    quarter and reach twice as far. Its last layer starts at zero, so that a new network changes
    nothing.
    """

    def __init__(self, n_in: int, n_known: int, n_out: int, widths: tuple[int, int]) -> None:
        """`n_in` channels vary over the image; `n_known` are numbers, the same for all of it."""
        super().__init__()
        fine, coarse = widths
        folded = FOLD**2
        self.first = _convolution(folded * n_in + n_known, fine)
        self.before = Residual(fine)
        self.down = torch.nn.Conv2d(fine, coarse, kernel_size=2, stride=2)
        self.middle = torch.nn.Sequential(Residual(coarse), Residual(coarse))
        self.up = torch.nn.Conv2d(coarse, folded * fine, kernel_size=1)
        self.after = Residual(fine)
        self.last = _convolution(fine, folded * n_out)
        silence(self.last)

    def forward(
        self, images: torch.Tensor, known: torch.Tensor, fusions: tuple[Fusion, Fusion, Fusion] | None = None
    ) -> torch.Tensor:
        """`(slice, n_in, y, x)` and `(slice, n_known)` to `(slice, n_out, y, x)`.

        `fusions`, if any, meet the features on the way down, on the quarter grid and on the way up.
        """
        n_y, n_x = images.shape[-2:]
        on_way_down, deepest, on_way_up = fusions or (_as_they_are,) * 3
        folded = folded_channels(images)
        numbers = known[:, :, None, None].expand(-1, -1, *folded.shape[-2:])
        x = torch.cat([folded, numbers], dim=1).contiguous(memory_format=torch.channels_last)
        x = on_way_down(self.before(torch.relu_(self.first(x))))
        coarse = deepest(self.middle(torch.relu_(self.down(x))))
        x = on_way_up(self.after(x + pixel_shuffle(self.up(coarse), FOLD)))
        return pixel_shuffle(self.last(x), FOLD)[..., :n_y, :n_x]


def folded_channels(images: torch.Tensor) -> torch.Tensor:
    """`(slice, n, y, x)`, padded to a multiple of `MULTIPLE`, to `(slice, 4 n, y / 2, x / 2)`."""
    n_y, n_x = images.shape[-2:]
    return pixel_unshuffle(pad(images, (0, -n_x % MULTIPLE, 0, -n_y % MULTIPLE)), FOLD)


class Residual(torch.nn.Module):
    """x + conv(ReLU(conv(x))), the identity at first."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = _convolution(width, width), _convolution(width, width)
        silence(self.second)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        added: torch.Tensor = self.second(torch.relu_(self.first(x)))
        return x + added


def _as_they_are(features: torch.Tensor) -> torch.Tensor:
    return features


def _convolution(n_in: int, n_out: int) -> torch.nn.Conv2d:
    return torch.nn.Conv2d(n_in, n_out, kernel_size=3, padding=1)
