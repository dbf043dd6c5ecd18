"""The image of another contrast that guides a network: on the target's grid, and what it explains of it."""

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


def smooth_phase(image: torch.Tensor) -> torch.Tensor:
    """exp(iφ) of the mean over a neighbourhood, `(slice, y, x)`."""
    return torch.sgn(to_image(_mean(to_channels(image))))


def explained(image: torch.Tensor, guide: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What a guide explains of an image, whatever its contrast: the guided filter.

    In each neighbourhood x ≈ a g + b is fitted by least squares; a is zero where nothing of x goes with g, as
    with a wrong guide. He et al. 2013, doi:10.1109/TPAMI.2012.213.

    Args:
        image: x, `(slice, y, x)` complex.
        guide: g, `(slice, y, x)` real.

    Returns:
        `(slice, y, x)` complex: mean(a) g + mean(b), over the neighbourhoods that a pixel lies in.
        `(slice, 1, y, x)`: the share of the variance of x that is explained, from 0 to 1.
    """
    x, g = to_channels(image), guide[:, None]
    mean_x, mean_g = _mean(x), _mean(g)
    covariance = _mean(x * g) - mean_x * mean_g
    variance_x = (_mean(x * x) - mean_x * mean_x).sum(1, keepdim=True).clamp(min=0)
    variance_g = (_mean(g * g) - mean_g * mean_g).clamp(min=0)
    a = covariance / (variance_g + LEAST_VARIANCE)
    b = mean_x - a * mean_g
    share = covariance.square().sum(1, keepdim=True) / (
        (variance_g + LEAST_VARIANCE) * (variance_x + LEAST_VARIANCE)
    )
    return to_image(_mean(a) * g + _mean(b)), share


def _mean(channels: torch.Tensor) -> torch.Tensor:
    return avg_pool2d(channels, WINDOW, stride=1, padding=WINDOW // 2, count_include_pad=False)
