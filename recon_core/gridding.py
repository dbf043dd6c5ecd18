"""Fourier sums at points off the grid in torch alone: a convolution with a Kaiser-Bessel window."""

import math
from collections.abc import Iterator, Sequence
from itertools import product

import torch

from recon_core.fourier import resize

OVERSAMPLING = 2
WIDTH = 7
"""Samples of the finer grid under the window."""
BETA = math.pi * math.sqrt((WIDTH / OVERSAMPLING * (OVERSAMPLING - 0.5)) ** 2 - 0.8)


class GriddingSums:
    """y_p = Σ_r x_r e^(−i p·r) and its adjoint, on any device, to about 1e-6.

    The image, divided by the window's transform, is transformed on a grid of twice the size, and read there
    through the window. Beatty et al. 2005, doi:10.1109/TMI.2005.848376.

    Args:
        points: p, (point, axis) float64, in radians, axes in the order of `matrix`.
        matrix: of the images; the centre r = 0 of an axis is index n // 2.
        dtype: of images and samples.
    """

    def __init__(self, points: torch.Tensor, matrix: Sequence[int], dtype: torch.dtype) -> None:
        self.matrix = tuple(matrix)
        self.grid = [OVERSAMPLING * n for n in matrix]
        self.axes = tuple(range(-len(matrix), 0))
        self.deapodisation = torch.ones((), dtype=torch.float64)
        self.indices, self.weights = [], []
        for axis, n_grid in enumerate(self.grid):
            position = points[:, axis] * n_grid / (2 * math.pi)
            first = torch.ceil(position - WIDTH / 2)
            nearest = first + torch.arange(WIDTH, device=points.device)[:, None]
            self.indices.append(nearest.long() % n_grid)
            self.weights.append(_window(nearest - position).to(dtype.to_real()))
            r = torch.arange(self.matrix[axis], dtype=torch.float64) - self.matrix[axis] // 2
            self.deapodisation = self.deapodisation[..., None] / _window_transform(r / n_grid)
        self.deapodisation = self.deapodisation.to(points.device, dtype.to_real())

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(image, *matrix) to (image, point)."""
        padded = torch.fft.ifftshift(resize(images * self.deapodisation, self.grid), dim=self.axes)
        grid: torch.Tensor = torch.fft.fftn(padded, dim=self.axes).flatten(1)
        samples = grid.new_zeros(len(grid), self.indices[0].shape[1])
        for index, weight in self._under_window():
            samples += grid[:, index] * weight
        return samples

    def adjoint(self, samples: torch.Tensor) -> torch.Tensor:
        """(image, point) to (image, *matrix)."""
        grid = samples.new_zeros(len(samples), math.prod(self.grid))
        for index, weight in self._under_window():
            grid.index_add_(1, index, samples * weight)
        images: torch.Tensor = torch.fft.ifftn(grid.reshape(-1, *self.grid), dim=self.axes, norm="forward")
        cropped: torch.Tensor = resize(torch.fft.fftshift(images, dim=self.axes), self.matrix)
        return cropped * self.deapodisation

    def _under_window(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """For each place under the window: where it is in the flattened grid, and what it weighs."""
        for places in product(range(WIDTH), repeat=len(self.grid)):
            index = torch.zeros_like(self.indices[0][0])
            weight = torch.ones_like(self.weights[0][0])
            for axis, place in enumerate(places):
                index = index * self.grid[axis] + self.indices[axis][place]
                weight = weight * self.weights[axis][place]
            yield index, weight


def _window(distance: torch.Tensor) -> torch.Tensor:
    inside = (1 - (2 * distance / WIDTH).square()).clamp(min=0)
    window: torch.Tensor = torch.special.i0(BETA * inside.sqrt()) / WIDTH
    return window


def _window_transform(frequency: torch.Tensor) -> torch.Tensor:
    """∫ window(u) e^(−2πi·frequency·u) du, for frequencies inside the image."""
    root = (BETA**2 - (math.pi * WIDTH * frequency).square()).sqrt()
    return torch.sinh(root) / root
