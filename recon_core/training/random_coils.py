"""Sensitivities of coils that nobody built: loops of random size, place and tilt around the object."""

import math
from functools import lru_cache

import torch
from torch.nn.functional import normalize

from recon_core.coils.combine import rss
from recon_core.fourier import resize
from recon_core.training.draws import Draws

N_NODES = 32
"""Fields are computed on a grid of this many points squared over the field of view; they are smooth."""
N_SEGMENTS = 12
SOFTENING = 0.12
"""Distance to a wire, in half fields of view, below which its field grows no more."""
MOST_LOOPS = 32


def loop_fields(centre: torch.Tensor, normal: torch.Tensor, radius: torch.Tensor) -> torch.Tensor:
    """`(loop, y, x)` complex64 on `N_NODES` squared: B_x − i·B_y of unit currents in circular loops.

    By Biot and Savart, B = Σ dl × r / (r² + ε²)^{3/2} over `N_SEGMENTS` segments, in the plane z = 0, with
    x and y from −1 to 1. Reciprocity makes it the sensitivity: Hoult & Richards 1976,
    doi:10.1016/0022-2364(76)90233-X.

    Args:
        centre: `(loop, 3)`, as x, y, z in half fields of view.
        normal: `(loop, 3)` unit vectors along the loops' axes; not along z.
        radius: `(loop,)` in half fields of view.
    """
    across = normalize(torch.linalg.cross(normal, torch.tensor([0.0, 0.0, 1.0]).expand_as(normal)), dim=1)
    upward = torch.linalg.cross(normal, across)
    turn_rad = 2 * math.pi * torch.arange(N_SEGMENTS)[:, None, None] / N_SEGMENTS
    # Axes: segment, loop, (x, y, z) here, then segment, loop, y, x.
    wire = centre + radius[:, None] * (turn_rad.cos() * across + turn_rad.sin() * upward)
    segment = radius[:, None] * (turn_rad.cos() * upward - turn_rad.sin() * across)
    segment *= 2 * math.pi / N_SEGMENTS
    position = torch.linspace(-1, 1, N_NODES)
    r_x = position[None, :] - wire[..., 0, None, None]
    r_y = position[:, None] - wire[..., 1, None, None]
    r_z = -wire[..., 2, None, None]
    l_x, l_y, l_z = (segment[..., axis, None, None] for axis in range(3))
    weight = (r_x.square() + r_y.square() + r_z.square() + SOFTENING**2).pow(-1.5)
    field_x, field_y = (l_y * r_z - l_z * r_y) * weight, (l_z * r_x - l_x * r_z) * weight
    return torch.complex(field_x.sum(0), -field_y.sum(0))


def random_loops(n_loops: int, draws: Draws) -> torch.Tensor:
    """`(loop, y, x)` complex64 on `N_NODES` squared: fields of loops on an ellipse about the object.

    At random angles that leave no large gap and at random heights, facing the object but for a random tilt,
    with the phases and gains of cables and preamplifiers.
    """
    around_rad = 2 * math.pi * (torch.arange(n_loops) + draws.uniforms(-0.4, 0.4, n_loops)) / n_loops
    around_rad += draws.uniform(0, 2 * math.pi)
    distance = draws.uniform(1.05, 1.7) * draws.uniforms(0.9, 1.1, n_loops)
    height = draws.uniform(0, 0.8) * draws.uniforms(-1, 1, n_loops)
    centre = torch.stack(
        [distance * around_rad.cos(), draws.uniform(0.8, 1) * distance * around_rad.sin(), height], dim=1
    )
    inward = normalize(-centre * torch.tensor([1.0, 1.0, 0.5]), dim=1)
    normal = normalize(inward + 0.25 * draws.normal(n_loops, 3), dim=1)
    radius = draws.uniform(0.35, 0.9) * draws.uniforms(0.85, 1.15, n_loops)
    gain = torch.polar(torch.exp(0.2 * draws.normal(n_loops)), draws.uniforms(-math.pi, math.pi, n_loops))
    return loop_fields(centre, normal, radius) * gain[:, None, None]


def random_sensitivities(
    n_coils: int, seen: torch.Tensor, draws: Draws, *, compressed: float
) -> torch.Tensor:
    """`(coil, y, x)` on `N_NODES` squared: loops, or the strongest combinations of up to four times as many.

    Their root sum of squares falls off from the loops to the middle as it does, or less, as after a
    correction of intensities; where the object is, its maximum is one.

    Args:
        n_coils: channels wanted.
        seen: `(y, x)` magnitude of the object on the same grid; what compression weighs by.
        draws: where chance comes from.
        compressed: share of cases with more loops than channels, compressed by singular value decomposition.
    """
    is_compressed = draws.chance(compressed)
    n_loops = draws.integer(n_coils + 1, max(n_coils + 1, min(4 * n_coils, MOST_LOOPS)))
    fields = random_loops(n_loops if is_compressed else n_coils, draws)
    fields = fields / rss(fields, -3).pow(draws.uniform(0.3, 1.0))
    if is_compressed:
        signals = (fields * seen).flatten(1)
        vectors = torch.linalg.eigh(signals @ signals.mH).eigenvectors.flip(-1)[:, :n_coils]
        fields = torch.einsum("lv,lyx->vyx", vectors.conj(), fields)
    strongest = rss(fields, -3)[seen > 0.1 * seen.max()].max()
    return fields / strongest


def interpolated(nodes: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
    """`(coil, y, x)` on a grid of `shape` with square pixels, whose longer side nodes span from -1 to 1.

    By cubic convolution: Keys 1981, doi:10.1109/TASSP.1981.1163711. Pixel n // 2 is at 0, as for the FFT.
    """
    rows, columns = (
        resize(_cubic(length, max(shape)), (n, length))
        for length, n in zip(nodes.shape[-2:], shape, strict=True)
    )
    return torch.matmul(torch.matmul(rows, nodes), columns.mT)


@lru_cache(maxsize=64)
def _cubic(n_nodes: int, n: int) -> torch.Tensor:
    """The `(n, n_nodes)` matrix of interpolation along one axis; complex, as what it multiplies."""
    pixel = 2 * (torch.arange(n) - n // 2) / n
    away = ((pixel + 1) / 2 * (n_nodes - 1))[:, None] - torch.arange(-1, n_nodes + 1)
    t = away.abs()
    near, far = (1.5 * t - 2.5) * t * t + 1, ((-0.5 * t + 2.5) * t - 4) * t + 2
    weights = torch.where(t <= 1, near, torch.where(t < 2, far, 0))
    # Beyond the last nodes values go on as a line does.
    weights[:, [1, 2]] += weights[:, :1] * torch.tensor([2.0, -1.0])
    weights[:, [-2, -3]] += weights[:, -1:] * torch.tensor([2.0, -1.0])
    return weights[:, 1:-1].to(torch.complex64)
