"""Dominant eigenvectors of every pixel's coil covariance: the image half of ESPIRiT.

No pixel's matrix is formed. Along a line of the image ``G(x) v(x) = sum_q H_q D(q, x) v(x)`` over the nodes
q: one matrix product for the whole line. Exact eigenvectors on a coarse grid start an iteration on finer and
finer ones.

The iteration is real: a coil vector is its real parts, then its imaginary parts, and a Hermitian matrix the
symmetric ``[[Re, -Im], [Im, Re]]``. Nothing is lost, since a Krylov space of a Hermitian matrix needs only
real coefficients.
"""

import math
from collections.abc import Iterator

import torch
from torch.nn.functional import interpolate

from recon_core.coils.espirit_kernels import dirichlet_weights
from recon_core.coils.phase import reference_phase

EXACT_STEP = 16
STEPS_AND_ITERATIONS = ((8, 4), (4, 2), (2, 2), (1, 2))
CACHED_VALUES = 2**20
"""Real numbers in one block of lines: about what stays in cache between its two products."""


def dominant_eigenvectors(
    nodes: torch.Tensor, shape: tuple[int, int, int], n_maps: int, virtual_coil: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Eigenvectors (set, coil, z, y, x) of G and their eigenvalues (set, z, y, x), the largest first.

    nodes: (pz, py, px, coil, coil), see `covariance_nodes`; shape: (z, y, x); virtual_coil: (coil,), whose
    phase the vectors take, see `reference_phase`.
    """
    vectors, values = _exact(_PixelGrid(nodes, shape, EXACT_STEP), n_maps)
    real_nodes = torch.cat(
        [torch.cat([nodes.real, -nodes.imag], -1), torch.cat([nodes.imag, nodes.real], -1)], -2
    )
    for step, n_iterations in STEPS_AND_ITERATIONS:
        start = _packed(reference_phase(vectors, virtual_coil))
        packed, values = _refined(start, _PixelGrid(real_nodes, shape, step), n_iterations)
        vectors = torch.complex(*packed.chunk(2, dim=1))
    return reference_phase(vectors, virtual_coil), values


class _PixelGrid:
    """G on about every `step`-th pixel, the first and the last of each axis included."""

    def __init__(self, nodes: torch.Tensor, shape: tuple[int, int, int], step: int) -> None:
        self.counts = tuple(math.ceil((length - 1) / step) + 1 for length in shape)
        z, y, x = (
            _weights_on_axis(nodes, axis, length, count)
            for axis, (length, count) in enumerate(zip(shape, self.counts, strict=True))
        )
        self.nodes = nodes.flatten(0, 1)
        self.line_weights = torch.einsum("pz,qy->zypq", z, y).flatten(2).flatten(0, 1)
        self.pixel_weights = x

    def blocks(self) -> Iterator[slice]:
        n_lines = max(1, CACHED_VALUES // (self.pixel_weights.numel() * self.nodes.shape[-1]))
        for first in range(0, len(self.line_weights), n_lines):
            yield slice(first, first + n_lines)

    def on_lines(self, block: slice) -> torch.Tensor:
        """H, what is left of G on these lines: (line, px, coil, coil)."""
        lines: torch.Tensor = torch.tensordot(
            self.line_weights[block].to(self.nodes.dtype), self.nodes, dims=1
        )
        return lines


def _weights_on_axis(nodes: torch.Tensor, axis: int, length: int, count: int) -> torch.Tensor:
    pixel = torch.linspace(0, length - 1, count, dtype=torch.float64, device=nodes.device)
    return dirichlet_weights((pixel - length // 2) / length, nodes.shape[axis]).to(nodes.real.dtype)


def _exact(grid: _PixelGrid, n_maps: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The leading eigenpairs of every matrix on a grid, by dense decomposition."""
    vectors, values = [], []
    for block in grid.blocks():
        matrices = torch.einsum(
            "lqij,qx->lxij", grid.on_lines(block), grid.pixel_weights.to(grid.nodes.dtype)
        )
        value, vector = torch.linalg.eigh(matrices)
        values.append(value[..., -n_maps:].flip(-1).permute(2, 0, 1))
        vectors.append(vector[..., -n_maps:].flip(-1).permute(3, 2, 0, 1))
    n_coils = len(grid.nodes[0, 0])
    return (
        torch.cat(vectors, 2).reshape(n_maps, n_coils, *grid.counts),
        torch.cat(values, 1).reshape(n_maps, *grid.counts),
    )


def _refined(coarse: torch.Tensor, grid: _PixelGrid, n_iterations: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Eigenpairs on `grid`, from packed vectors (set, 2 coil, z, y, x) on a coarser one."""
    fine = interpolate(coarse, grid.counts, mode="trilinear", align_corners=True)
    lines = fine.flatten(2, 3)
    values = lines.new_empty(len(lines), *lines.shape[2:])
    for block in grid.blocks():
        product = grid.on_lines(block).transpose(1, 2).flatten(2)
        found: list[torch.Tensor] = []
        for vectors, value in zip(lines[:, :, block], values[:, block], strict=True):
            pair = vectors.transpose(0, 1), value
            for _ in range(n_iterations):
                pair = _improved(pair[0], product, grid.pixel_weights, found)
            vectors.copy_(pair[0].transpose(0, 1))
            value.copy_(pair[1])
            real, imaginary = pair[0].chunk(2, dim=1)
            found += [pair[0], torch.cat([-imaginary, real], 1)]
    return fine, values.reshape(-1, *grid.counts)


def _improved(
    start: torch.Tensor, product: torch.Tensor, weights: torch.Tensor, found: list[torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """One step towards the dominant eigenvectors that are orthogonal to those `found`: (vectors, values).

    The best vector of span{v, G v} (Rayleigh-Ritz, 2 x 2 in closed form), and G once more on that: a
    second-order power iteration. start: (line, 2 coil, x); product: (line, 2 coil, px * 2 coil); weights:
    (px, x).
    """

    def times_covariance(vectors: torch.Tensor) -> torch.Tensor:
        weighted = (weights[:, None] * vectors[:, None]).flatten(1, 2)
        return _without(product @ weighted, found)

    v = _unit(_without(start, found))
    image = times_covariance(v)
    quotient = _dot(v, image)
    residual = image - quotient * v
    coupling = _dot(residual, residual).sqrt()
    q = _unit(residual)
    image_of_q = times_covariance(q)
    quotient_of_q = _dot(q, image_of_q)
    half_gap = (quotient - quotient_of_q) / 2
    angle_rad = torch.atan2(coupling, half_gap) / 2
    value = (quotient + quotient_of_q) / 2 + torch.hypot(half_gap, coupling)
    return _unit(angle_rad.cos() * image + angle_rad.sin() * image_of_q), value[:, 0]


def _dot(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return (a * b).sum(1, keepdim=True)


def _unit(vectors: torch.Tensor) -> torch.Tensor:
    return vectors / _dot(vectors, vectors).sqrt().clamp(min=torch.finfo(vectors.dtype).tiny)


def _without(vectors: torch.Tensor, found: list[torch.Tensor]) -> torch.Tensor:
    for other in found:
        vectors = vectors - _dot(other, vectors) * other
    return vectors


def _packed(vectors: torch.Tensor) -> torch.Tensor:
    """(set, coil, ...) complex to (set, 2 coil, ...) real."""
    return torch.cat([vectors.real, vectors.imag], 1)
