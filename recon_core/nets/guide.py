"""The image of another contrast that guides a network: on the target's grid, and what it explains of it."""

from typing import NamedTuple

import torch
from torch.nn.functional import avg_pool2d

from recon_core.fourier import resampled
from recon_core.nets.features import to_channels, to_image
from recon_core.nets.undersampled import Undersampled

WINDOW = 7
"""Pixels across, of the neighbourhoods in which a guide may explain an image."""
LEAST_VARIANCE = 1e-4
"""Of a guide in a neighbourhood, normalised: below it there is nothing in the guide to explain anything."""


def guide_magnitudes(undersampled: Undersampled) -> torch.Tensor:
    """`(slice, y, x)` real: guides on the grid of the slices; zero where there is none.

    A guide of another matrix is band-limited to the target's, or interpolated, by its Fourier transform.
    """
    shape = undersampled.image_shape
    guide = undersampled.guide
    if guide is None:
        return torch.zeros(shape, device=undersampled.device)
    return (guide if guide.shape == shape else resampled(guide, shape[-2:])).abs()


def present(guide: torch.Tensor) -> torch.Tensor:
    """`(slice, 1, 1, 1)`: one for each slice with a guide, zero for each without."""
    return (guide.amax((-2, -1)) > 0).to(guide.dtype)[:, None, None, None]


class Explained(NamedTuple):
    """What a guide explains of an image."""

    image: torch.Tensor
    """`(slice, y, x)` complex: mean(a) g + mean(b), over the neighbourhoods that a pixel lies in."""
    share: torch.Tensor
    """`(slice, 1, y, x)`: of the variance of x, from 0 to 1."""
    phase: torch.Tensor
    """`(slice, y, x)`: exp(iφ) of the mean of x."""


def explained(image: torch.Tensor, guide: torch.Tensor) -> Explained:
    """What a guide explains of an image, whatever its contrast: the guided filter.

    In each neighbourhood x ≈ a g + b is fitted by least squares; a is zero where nothing of x goes with g, as
    with a wrong guide. He et al. 2013, doi:10.1109/TPAMI.2012.213.

    Args:
        image: x, `(slice, y, x)` complex.
        guide: g, `(slice, y, x)` real.
    """
    x, g = to_channels(image), guide[:, None]
    power = x.square().sum(1, keepdim=True)
    means = _mean(torch.cat([x, g, x * g, power, g * g], dim=1))
    mean_x, mean_g, mean_xg, mean_power, mean_gg = torch.split(means, [2, 1, 2, 1, 1], dim=1)
    covariance = mean_xg - mean_x * mean_g
    variance_g = (mean_gg - mean_g.square()).clamp(min=0) + LEAST_VARIANCE
    variance_x = (mean_power - mean_x.square().sum(1, keepdim=True)).clamp(min=0) + LEAST_VARIANCE
    a = covariance / variance_g
    mean_a, mean_b = torch.split(_mean(torch.cat([a, mean_x - a * mean_g], dim=1)), 2, dim=1)
    share = covariance.square().sum(1, keepdim=True) / (variance_g * variance_x)
    return Explained(to_image(mean_a * g + mean_b), share, torch.sgn(to_image(mean_x)))


def _mean(channels: torch.Tensor) -> torch.Tensor:
    """Of the neighbourhood of each pixel as far as it lies in the image: of columns, then of rows."""
    channels = channels.contiguous(memory_format=torch.channels_last)
    half = WINDOW // 2
    of_columns = avg_pool2d(channels, (WINDOW, 1), stride=1, padding=(half, 0), count_include_pad=False)
    return avg_pool2d(of_columns, (1, WINDOW), stride=1, padding=(0, half), count_include_pad=False)
