"""A random view of an image: turned, scaled, shifted, of another contrast and field of view."""

import math

import torch

from recon_core.training.draws import Draws, Range

MAX_SHIFT = 0.08
SEEN = 0.6
"""How far a view that is smaller than the image may move towards its border, beyond which there is air."""
FEWEST_PIXELS = 1.0
"""Pixels of the image for each of the matrix, at least: an image has no detail below its own pixels."""
MOST_PIXELS = 3.0
"""Grid points for each pixel of the matrix, at most."""


def random_view(
    image: torch.Tensor,
    matrix: tuple[int, int],
    draws: Draws,
    *,
    finer: float,
    zoom: Range,
    tilt_rad: float,
    gamma: Range,
) -> torch.Tensor:
    """The image in the field of view of a scan, on a finer grid than the scan's.

    Args:
        image: `(y, x)`, real or complex.
        matrix: `(ny, nx)` of the scan, with square pixels.
        draws: where chance comes from.
        finer: grid points for each pixel of the matrix, at least; more where the image has more to show.
        zoom: field of view over the image's longer side, log-uniform; above one leaves air around it.
        tilt_rad: standard deviation of the rotation beside quarter turns and mirror images, all alike.
        gamma: exponent of the magnitude, log-uniform.

    Returns:
        `(y, x)`, real or complex as the image, its largest magnitude one.
    """
    length_y, length_x = image.shape
    fov = max(length_y, length_x) * draws.log_uniform(*zoom)
    pixel = max(fov / max(matrix), FEWEST_PIXELS)
    n_points = min(max(pixel, finer), MOST_PIXELS)
    shape = [8 * math.ceil(n * n_points / 8) for n in matrix]
    fov_y, fov_x = (n * pixel for n in matrix)

    angle_rad = math.pi / 2 * draws.integer(0, 3) + tilt_rad * float(draws.normal())
    cos, sin, mirror = math.cos(angle_rad), math.sin(angle_rad), draws.choice((-1, 1))
    # affine_grid's coordinates run from -1 to 1 along each side of the view and of the image.
    rows = (
        (mirror * cos * fov_x / length_x, -mirror * sin * fov_y / length_x),
        (sin * fov_x / length_y, cos * fov_y / length_y),
    )
    beyond = [max(0.0, max(length_y, length_x) / n - 1) for n in (fov_x, fov_y)]
    shift_x, shift_y = (draws.uniform(-1, 1) * (MAX_SHIFT + SEEN * room) for room in beyond)
    to_image = [[a, b, a * shift_x + b * shift_y] for a, b in rows]
    grid = torch.nn.functional.affine_grid(torch.tensor([to_image]), [1, 1, *shape], align_corners=False)
    parts = torch.view_as_real(image).movedim(-1, 0) if image.is_complex() else image[None]
    seen = torch.nn.functional.grid_sample(parts[None], grid, mode="bicubic", align_corners=False)[0]

    view = torch.complex(*seen) if image.is_complex() else seen[0].clamp(min=0)
    magnitude = view.abs()
    contrast = (magnitude / magnitude.max().clamp(min=1e-12)).pow(draws.log_uniform(*gamma))
    return torch.sgn(view) * contrast if image.is_complex() else contrast
