"""Dominant eigenvectors of every pixel's coil covariance: the image half of ESPIRiT.

A block of image lines at a time, few enough that their matrices stay in cache. Exact eigenvectors on a coarse
grid start an iteration on finer and finer ones.
"""

import math
from collections.abc import Iterator

import torch
from torch.nn.functional import interpolate

from recon_core.coils.espirit_kernels import Widths, dirichlet_weights
from recon_core.coils.phase import reference_phase

EXACT_STEP = 16
STEPS_AND_ITERATIONS = ((8, 4), (4, 2), (2, 2), (1, 2))
BLOCK_VALUES = 2**19
"""Complex numbers in the matrices of a block: 4 MB, read several times while in cache."""


def dominant_eigenvectors(
    nodes: torch.Tensor, shape: Widths, n_maps: int, virtual_coil: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Eigenvectors (set, coil, z, y, x) of G and their eigenvalues (set, z, y, x), the largest first.

    nodes: (pz, py, px, coil, coil), see `covariance_nodes`; shape: (z, y, x); virtual_coil: (coil,), whose
    phase the vectors take, see `reference_phase`.
    """
    vectors, values = _exact(_PixelGrid(nodes, shape, EXACT_STEP), n_maps)
    for step, n_iterations in STEPS_AND_ITERATIONS:
        start = reference_phase(vectors, virtual_coil)
        vectors, values = _refined(start, _PixelGrid(nodes, shape, step), n_iterations)
    return reference_phase(vectors, virtual_coil), values


class _PixelGrid:
    """G on about every `step`-th pixel, the first and the last of each axis included."""

    def __init__(self, nodes: torch.Tensor, shape: Widths, step: int) -> None:
        z, y, x = (math.ceil((length - 1) / step) + 1 for length in shape)
        self.counts = z, y, x
        weights_z, weights_y, self.x_weights = (
            _weights_on_axis(nodes, axis, length, count)
            for axis, (length, count) in enumerate(zip(shape, self.counts, strict=True))
        )
        self.line_weights = torch.einsum("zp,yq->zypq", weights_z, weights_y).reshape(z * y, -1)
        self.n_coils = nodes.shape[-1]
        self.nodes = torch.view_as_real(nodes).reshape(self.line_weights.shape[1], -1)

    def blocks(self) -> Iterator[slice]:
        n_lines = max(1, BLOCK_VALUES // (self.counts[2] * self.n_coils**2))
        for first in range(0, len(self.line_weights), n_lines):
            yield slice(first, first + n_lines)

    def matrices(self, block: slice) -> torch.Tensor:
        """G at every pixel of some lines, by real products only: (line * x, coil, coil)."""
        on_lines = self.line_weights[block] @ self.nodes
        on_pixels = self.x_weights @ on_lines.reshape(len(on_lines), self.x_weights.shape[1], -1)
        return torch.view_as_complex(on_pixels.reshape(-1, self.n_coils, self.n_coils, 2))


def _weights_on_axis(nodes: torch.Tensor, axis: int, length: int, count: int) -> torch.Tensor:
    pixel = torch.linspace(0, length - 1, count, dtype=torch.float64, device=nodes.device)
    return dirichlet_weights((pixel - length // 2) / length, nodes.shape[axis]).to(nodes.real.dtype)


def _exact(grid: _PixelGrid, n_maps: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The leading eigenpairs of every matrix on a grid, by dense decomposition."""
    pairs = [torch.linalg.eigh(grid.matrices(block)) for block in grid.blocks()]
    values = torch.cat([value[:, -n_maps:] for value, _ in pairs]).flip(-1)
    vectors = torch.cat([vector[..., -n_maps:] for _, vector in pairs]).flip(-1)
    return (
        vectors.permute(2, 1, 0).reshape(n_maps, grid.n_coils, *grid.counts),
        values.mT.reshape(n_maps, *grid.counts),
    )


def _refined(coarse: torch.Tensor, grid: _PixelGrid, n_iterations: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Eigenpairs on `grid`, from vectors (set, coil, z, y, x) on a coarser one."""
    real_coils = torch.cat([coarse.real, coarse.imag], 1)
    start = interpolate(real_coils, grid.counts, mode="trilinear", align_corners=True).flatten(2, 3)
    n_maps, n_coils, n_lines, n_x = len(coarse), grid.n_coils, *start.shape[2:]
    vectors = coarse.new_empty(n_maps, n_coils, n_lines, n_x)
    values = start.new_empty(n_maps, n_lines, n_x)
    for block in grid.blocks():
        matrices = grid.matrices(block)
        found: list[torch.Tensor] = []
        for number in range(n_maps):
            by_line = torch.complex(*start[number, :, block].chunk(2))
            vector = by_line.permute(1, 2, 0).reshape(-1, n_coils)
            for _ in range(n_iterations):
                vector, value = _improved(vector, matrices, found)
            vectors[number, :, block] = vector.mT.reshape(by_line.shape)
            values[number, block] = value.reshape(by_line.shape[1:])
            found.append(vector)
    return vectors.reshape(n_maps, n_coils, *grid.counts), values.reshape(n_maps, *grid.counts)


def _improved(
    start: torch.Tensor, matrices: torch.Tensor, found: list[torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """One step towards the dominant eigenvectors orthogonal to those `found`: (vectors, values).

    The best vector of span{v, G v} (Rayleigh-Ritz, 2 x 2 in closed form), and G once more on that: a
    second-order power iteration. start: (pixel, coil); matrices: (pixel, coil, coil).
    """
    v = _unit(_without(start, found))
    image = _without((matrices @ v.unsqueeze(-1)).squeeze(-1), found)
    quotient = _dot(v, image)
    residual = image - quotient * v
    coupling = _dot(residual, residual).sqrt()
    q = _unit(residual)
    image_of_q = _without((matrices @ q.unsqueeze(-1)).squeeze(-1), found)
    quotient_of_q = _dot(q, image_of_q)
    half_gap = (quotient - quotient_of_q) / 2
    angle_rad = torch.atan2(coupling, half_gap) / 2
    value = (quotient + quotient_of_q) / 2 + torch.hypot(half_gap, coupling)
    return _unit(angle_rad.cos() * image + angle_rad.sin() * image_of_q), value


def _dot(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Real part of the inner products over coils, (pixel, 1)."""
    return (torch.view_as_real(a) * torch.view_as_real(b)).sum((-1, -2)).unsqueeze(-1)


def _unit(vectors: torch.Tensor) -> torch.Tensor:
    return vectors / _dot(vectors, vectors).sqrt().clamp(min=torch.finfo(vectors.dtype).tiny)


def _without(vectors: torch.Tensor, found: list[torch.Tensor]) -> torch.Tensor:
    for other in found:
        vectors = vectors - (other.conj() * vectors).sum(-1, keepdim=True) * other
    return vectors
