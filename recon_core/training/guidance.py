"""Guides to learn with: another contrast of what a scan shows, as good and as bad as guides get."""

import math
from collections.abc import Sequence

import msgspec
import torch

from recon_core.fourier import resampled
from recon_core.nets.architecture import Weight
from recon_core.training.draws import Draws, Range
from recon_core.training.random_view import random_view
from recon_core.training.simulation import FINER, Simulation, fading
from recon_core.training.slices import Slice

Shape = tuple[int, int]

N_WAVES = 3
"""Cosines that make up a contrast that nobody has seen."""
MOST_SPOTS = 3
LARGEST_DIFFERENCE = 0.02
"""Relative, of the ratios of sides, of images of the same field of view and other matrices."""
SPOT_RADIUS = (0.02, 0.1)
"""Of a spot that one contrast shows alone, over the longer side of the image; log-uniform."""


class Guidance(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which guides come with the examples, as shares of them; held-out ones have the best that there is."""

    absent: Weight = 0.1
    wrong: Weight = 0.15
    """Of another slice, of whatever source."""
    synthetic: Weight = 0.4
    """The slice itself in a contrast drawn at random, smooth in brightness and not monotone; so are guides of
    all slices that have no other contrast."""
    spotted: Weight = 0.3
    """Where up to three spots, as of a lesion, are in the guide alone, and others in the target alone."""
    partial: Weight = 0.1
    """Where the guide ends within the view, as one that covers a part of the target does."""
    shift: Weight = 1.0
    """Standard deviation, in pixels, of how far the guide is off along each axis."""
    tilt_rad: Weight = 0.01
    """Standard deviation of the angle by which it is."""
    resolution: Range = (0.5, 1.0)
    """Share of the scan's own, along each axis."""
    snr: Range = (10.0, 200.0)
    """Mean magnitude over the noise of either part, which makes the magnitude Rician; log-uniform."""


def guided_view(
    target: Slice,
    contrasts: Sequence[Slice],
    others: Sequence[Slice],
    matrix: Shape,
    guidance: Guidance,
    simulation: Simulation,
    draws: Draws,
    *,
    best: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """A random view of a slice, and of a guide for it.

    Args:
        target: an image.
        contrasts: the same place of the same subject in others, of the same field of view.
        others: any slices; what wrong guides are drawn from.
        matrix: `(ny, nx)` of the scan.
        guidance: what to draw from.
        simulation: of which the views are.
        draws: where chance comes from.
        best: whether the guide is to be as right as there is one.

    Returns:
        `(y, x)` image, finer than the matrix, and the guide's `(ny, nx)` magnitude, zero where there is none.
    """
    source, is_wrong = target, False
    fitting = [found for found in contrasts if _is_alike(found.data, target.data)]
    is_synthetic = not fitting or (not best and draws.chance(guidance.synthetic))
    if not best and draws.chance(guidance.wrong):
        source, is_wrong = draws.choice([found for found in others if found.kind != "kspace"]), True
    elif not is_synthetic:
        source = draws.choice(fitting)
    image, of_guide = target.data, source.data.abs()
    if not is_wrong and of_guide.shape != image.shape:
        of_guide = resampled(of_guide, image.shape).abs()
    if is_synthetic:
        of_guide = unseen_contrast(of_guide, draws)
    if not best and draws.chance(guidance.spotted):
        image, of_guide = (with_spots(one, draws) for one in (image, of_guide))
    number = draws.integer(0, 2**31 - 1)

    def view(data: torch.Tensor, *key: object) -> torch.Tensor:
        return random_view(
            data,
            matrix,
            Draws("view", number, *key),
            finer=FINER,
            zoom=simulation.zoom,
            tilt_rad=simulation.tilt_rad,
            gamma=simulation.gamma,
        )

    guide = view(of_guide, "elsewhere") if is_wrong else view(of_guide)
    guide = moved(guide, matrix, guidance, draws)
    guide = guide * fading((guide.shape[0], guide.shape[1]))
    coarse = [max(1, round(draws.uniform(*guidance.resolution) * n)) for n in matrix]
    guide = resampled(resampled(guide, coarse), matrix)
    noise_std = float(guide.abs().mean()) / draws.log_uniform(*guidance.snr)
    guide = (guide + 2**0.5 * noise_std * draws.complex_normal(*matrix)).abs()
    if not best and draws.chance(guidance.partial):
        axis = draws.integer(0, 1)
        n_missing = draws.integer(1, matrix[axis] // 2)
        guide.narrow(axis, draws.choice((0, matrix[axis] - n_missing)), n_missing).zero_()
    if not best and draws.chance(guidance.absent):
        guide = torch.zeros_like(guide)
    return view(image), guide


def _is_alike(one: torch.Tensor, other: torch.Tensor) -> bool:
    ratio = one.shape[0] * other.shape[1] / (one.shape[1] * other.shape[0])
    return one.ndim == other.ndim == 2 and abs(ratio - 1) < LARGEST_DIFFERENCE


def unseen_contrast(magnitude: torch.Tensor, draws: Draws) -> torch.Tensor:
    """|f(m) − f(0)| with f(m) = Σ_j a_j cos(π j m / max + φ_j): air stays dark."""
    brightness = magnitude / magnitude.max().clamp(min=1e-12)
    contrast = torch.zeros_like(brightness)
    for j in range(1, N_WAVES + 1):
        amplitude, phase = float(draws.normal()), draws.uniform(0, 2 * math.pi)
        contrast += amplitude * (torch.cos(math.pi * j * brightness + phase) - math.cos(phase))
    return contrast.abs()


def with_spots(image: torch.Tensor, draws: Draws) -> torch.Tensor:
    """The image with one to three round, soft spots, each brighter or darker by a factor."""
    n_y, n_x = image.shape
    y, x = torch.arange(n_y)[:, None], torch.arange(n_x)[None, :]
    factor = torch.ones(n_y, n_x)
    for _ in range(draws.integer(1, MOST_SPOTS)):
        centre_y, centre_x = draws.uniform(0.2, 0.8) * n_y, draws.uniform(0.2, 0.8) * n_x
        radius = draws.log_uniform(*SPOT_RADIUS) * max(n_y, n_x)
        distance = ((y - centre_y).square() + (x - centre_x).square()).sqrt()
        inside = torch.sigmoid(2 * (radius - distance))
        factor = factor * (1 + (draws.log_uniform(0.25, 4.0) - 1) * inside)
    return image * factor


def moved(image: torch.Tensor, matrix: Shape, guidance: Guidance, draws: Draws) -> torch.Tensor:
    """The image as registration leaves it: a little off. Shifts are in pixels of `matrix`."""
    angle_rad = guidance.tilt_rad * float(draws.normal())
    n_y, n_x = image.shape
    cos, sin = math.cos(angle_rad), math.sin(angle_rad)
    shift_y, shift_x = (2 * guidance.shift * float(draws.normal()) / n for n in matrix)
    rows = [[cos, -sin * n_y / n_x, shift_x], [sin * n_x / n_y, cos, shift_y]]
    grid = torch.nn.functional.affine_grid(torch.tensor([rows]), [1, 1, n_y, n_x], align_corners=False)
    return torch.nn.functional.grid_sample(image[None, None], grid, mode="bicubic", align_corners=False)[0, 0]
