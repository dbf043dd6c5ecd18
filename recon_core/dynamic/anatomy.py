"""A still chest to be set in motion: tissue, density and T1 on a fine grid, and the contours of its heart."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn.functional import interpolate

from recon_core.dynamic.tissues import DENSITY, Tissue, t1_ms
from recon_core.phantom import positions_mm
from recon_core.training.draws import Draws

N_ANGLES = 128
"""Directions from the heart's centre in which its contours are given."""
N_T1_VALUES = 256
"""T1 takes so many values, less than a percent apart: the signal is computed once for each."""


@dataclass(frozen=True, eq=False, kw_only=True)
class HeartContours:
    """Three closed lines around the left ventricle, as distances from its centre in every direction."""

    centre_mm: tuple[float, float]
    """(y, x) from the centre of the image."""
    radii_mm: torch.Tensor
    """`(3, N_ANGLES)`, each larger than the one before: endocardium, epicardium, and outermost the right
    ventricle's free wall, or what moves along with the epicardium where there is none. Angles run from x
    towards y, from 0 on."""

    def polar(self, positions_yx_mm: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Distance from the centre in mm, and the three contours' distances `(3, ...)` in that direction."""
        dy, dx = (positions_yx_mm[..., axis] - self.centre_mm[axis] for axis in range(2))
        place = torch.atan2(dy, dx) / (2 * math.pi) % 1 * N_ANGLES
        below = place.long() % N_ANGLES
        above, fraction = (below + 1) % N_ANGLES, place - place.floor()
        radii = self.radii_mm[:, below] * (1 - fraction) + self.radii_mm[:, above] * fraction
        return torch.hypot(dy, dx), radii


@dataclass(frozen=True, eq=False, kw_only=True)
class Anatomy:
    """End of diastole at end of expiration. Maps are `(y, x)`, their view `fov_mm` wide and high."""

    fov_mm: float
    tissue: torch.Tensor
    """uint8 labels, `Tissue`."""
    density: torch.Tensor
    """Signal without weighting, at least 0."""
    t1_ms: torch.Tensor
    """At most `N_T1_VALUES` different values, above 0 everywhere."""
    heart: HeartContours


def pixel_positions_mm(n: int, fov_mm: float) -> torch.Tensor:
    """`(n, n, 2)`: y and x of each pixel."""
    axis = positions_mm(n, fov_mm)
    return torch.stack(torch.meshgrid(axis, axis, indexing="ij"), dim=-1)


def with_properties(
    tissue: torch.Tensor,
    heart: HeartContours,
    draws: Draws,
    *,
    fov_mm: float,
    field_strength_t: float,
    texture: torch.Tensor | None = None,
) -> Anatomy:
    """One subject with these tissues: each tissue's T1 and density as published, but for chance.

    T1 of a tissue differs between subjects by 4 % (standard deviation) and within one by 2 %, smoothly; half
    the subjects have a sector of myocardium in which it is 10 to 25 % longer. Density varies by 5 % within a
    tissue, or as `texture`, `(y, x)` about 1, does.
    """
    t1_map_ms, density = (torch.zeros(tissue.shape) for _ in range(2))
    for label in Tissue:
        inside = tissue == label
        t1_map_ms[inside] = t1_ms(label, field_strength_t) * (1 + 0.04 * float(draws.normal()))
        density[inside] = DENSITY[label] * (1 + 0.05 * float(draws.normal()))
    t1_map_ms *= (1 + 0.02 * smooth_field(tissue.shape, 12, draws)).clamp(0.9, 1.1)
    if draws.chance(0.5):
        t1_map_ms *= torch.where(tissue == Tissue.MYOCARDIUM, _lesion(heart, len(tissue), fov_mm, draws), 1.0)
    density *= 1 + 0.05 * smooth_field(tissue.shape, 48, draws).clamp(-2, 2) if texture is None else texture
    return Anatomy(fov_mm=fov_mm, tissue=tissue, density=density, t1_ms=_rounded(t1_map_ms), heart=heart)


def smooth_field(shape: Sequence[int], n_nodes: int, draws: Draws) -> torch.Tensor:
    """`(y, x)` about standard normal, smooth between `n_nodes` squared nodes."""
    nodes = draws.normal(1, 1, n_nodes, n_nodes)
    return interpolate(nodes, tuple(shape), mode="bicubic", align_corners=True)[0, 0]


def _lesion(heart: HeartContours, n: int, fov_mm: float, draws: Draws) -> torch.Tensor:
    """`(y, x)`: by how much T1 is longer, in a sector about the heart's centre with soft ends."""
    middle_rad, half_rad = draws.uniform(0, 2 * math.pi), draws.uniform(0.3, 0.7)
    offset_mm = pixel_positions_mm(n, fov_mm) - torch.tensor(heart.centre_mm)
    away_rad = torch.atan2(offset_mm[..., 0], offset_mm[..., 1]) - middle_rad
    away_rad = torch.atan2(away_rad.sin(), away_rad.cos()).abs()
    return 1 + draws.uniform(0.1, 0.25) * torch.sigmoid((half_rad - away_rad) / 0.05)


def _rounded(t1_ms: torch.Tensor) -> torch.Tensor:
    """The nearest of `N_T1_VALUES` values at equal ratios."""
    logarithm = t1_ms.log()
    least = logarithm.min()
    step = ((logarithm.max() - least) / (N_T1_VALUES - 1)).clamp(min=1e-6)
    return torch.exp(least + step * ((logarithm - least) / step).round())
