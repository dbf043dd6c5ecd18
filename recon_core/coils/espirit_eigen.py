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
FINER_STEPS = (8, 4, 2, 1)
MAX_ITERATIONS = 8
SETTLED_RAD = 0.01
"""A vector that turned by less in one step is left as it then is."""
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
    for step in FINER_STEPS:
        start = reference_phase(vectors, virtual_coil)
        vectors, values = _refined(start, _PixelGrid(nodes, shape, step))
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


def _refined(coarse: torch.Tensor, grid: _PixelGrid) -> tuple[torch.Tensor, torch.Tensor]:
    """Eigenpairs on `grid`, from vectors (set, coil, z, y, x) on a coarser one."""
    n_maps = len(coarse)
    interleaved = torch.view_as_real(coarse).movedim(-1, 2).flatten(1, 2)
    finer = interpolate(interleaved, grid.counts, mode="trilinear", align_corners=True)
    lines = finer.flatten(2, 3)
    values = lines.new_empty(n_maps, *lines.shape[2:])
    for block in grid.blocks():
        matrices = grid.matrices(block)
        found: list[torch.Tensor] = []
        for number in range(n_maps):
            of_set = lines[number, :, block].permute(1, 2, 0)
            vectors, value = _iterated(of_set.flatten(0, 1).contiguous(), matrices, found)
            of_set.copy_(vectors.reshape(of_set.shape))
            values[number, block] = value.reshape(of_set.shape[:2])
            found.append(vectors)
    vectors = torch.complex(finer[:, 0::2], finer[:, 1::2])
    return vectors, values.reshape(n_maps, *grid.counts)


def _iterated(
    start: torch.Tensor, matrices: torch.Tensor, found: list[torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """The dominant eigenvectors orthogonal to those `found`, and their eigenvalues (pixel, 1).

    Vectors are real, (pixel, 2 coil) with real and imaginary parts in turn; matrices: (pixel, coil, coil).
    Iterates only where the vector still turns.
    """
    vectors, values, turn_rad = _improved(start, matrices, found)
    active = torch.nonzero(turn_rad[:, 0] > SETTLED_RAD)[:, 0]
    for _ in range(MAX_ITERATIONS - 1):
        if len(active) == 0:
            break
        matrices_left, found_left = matrices[active], [other[active] for other in found]
        vectors[active], values[active], turn_rad = _improved(vectors[active], matrices_left, found_left)
        active = active[turn_rad[:, 0] > SETTLED_RAD]
    return vectors, values


def _improved(
    start: torch.Tensor, matrices: torch.Tensor, found: list[torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """One step towards those eigenvectors: (vectors, values, angle turned by).

    The best vector of span{v, G v} (Rayleigh-Ritz, 2 x 2 in closed form), and G once more on that: a
    second-order power iteration.
    """
    v = _unit(_without(start, found))
    image = _without(_times(matrices, v), found)
    quotient = _dot(v, image)
    residual = image - quotient * v
    coupling = _dot(residual, residual).sqrt()
    q = _unit(residual)
    image_of_q = _without(_times(matrices, q), found)
    quotient_of_q = _dot(q, image_of_q)
    half_gap = (quotient - quotient_of_q) / 2
    angle_rad = torch.atan2(coupling, half_gap) / 2
    value = (quotient + quotient_of_q) / 2 + torch.hypot(half_gap, coupling)
    return _unit(angle_rad.cos() * image + angle_rad.sin() * image_of_q), value, angle_rad


def _times(matrices: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
    # As a row times the transpose: for 32 coils five times faster than a matrix times a column.
    product = _complex(vectors).unsqueeze(1) @ matrices.mT
    return torch.view_as_real(product).flatten(1)


def _complex(vectors: torch.Tensor) -> torch.Tensor:
    return torch.view_as_complex(vectors.reshape(len(vectors), -1, 2))


def _dot(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Real part of the inner products over coils, (pixel, 1)."""
    return (a * b).sum(1, keepdim=True)


def _unit(vectors: torch.Tensor) -> torch.Tensor:
    return vectors / _dot(vectors, vectors).sqrt().clamp(min=torch.finfo(vectors.dtype).tiny)


def _without(vectors: torch.Tensor, found: list[torch.Tensor]) -> torch.Tensor:
    for other in map(_complex, found):
        overlap = (other.conj() * _complex(vectors)).sum(1, keepdim=True)
        vectors = vectors - torch.view_as_real(overlap * other).flatten(1)
    return vectors
