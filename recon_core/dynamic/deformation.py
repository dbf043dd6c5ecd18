"""Where the tissue that is seen at a place comes from, as the heart contracts and the chest breathes."""

from dataclasses import dataclass

import torch
from torch.nn.functional import grid_sample

from recon_core.dynamic.anatomy import Anatomy, HeartContours

N_LEVELS = 25
"""Contractions for which the heart's displacement is tabulated; it is linear in between."""
TABLE_SPACING = 2
"""The tabulated displacements lie about so many pixels apart."""
MARGIN = 2
"""Bicubic interpolation reaches so many pixels beyond the body."""


@dataclass(frozen=True, kw_only=True)
class Strength:
    """How far one subject's heart and chest move, in mm and as shares of radii."""

    endocardium: float = 0.28
    """Inward at the end of systole: an ejection fraction of 1 − (1 − 0.28)², 48 % of this slice's area."""
    epicardium: float = 0.04
    right_ventricle: float = 0.3
    """Of the distance between epicardium and the free wall."""
    faded_mm: float = 25.0
    """Outside the heart, displacement falls to zero over this distance."""
    breath_mm: tuple[float, float] = (10.0, 2.5)
    """(y, x) of the organs at inspiration; the body's surface and the back stay."""


class Deformation:
    """The pull-back r ↦ r_ref for any contraction and breath: smooth in both, no folds.

    First the breath is undone, r' = r − s·b·w(r), with w rising from the skin inwards; then the contraction
    about the heart's centre: along every direction from it, the contours have moved inwards by their shares,
    and places in between in proportion.

    Places are (x, y) as `torch.nn.functional.grid_sample` has them: the first and last pixel at ∓1.
    """

    def __init__(self, anatomy: Anatomy, strength: Strength) -> None:
        n = len(anatomy.tissue)
        body = torch.nonzero((anatomy.tissue > 0).any(1))[:, 0]
        self.top, self.bottom = max(int(body[0]) - MARGIN, 0), min(int(body[-1]) + MARGIN + 1, n)
        """The rows in which there is something to see."""
        self.mm = anatomy.fov_mm / n * (n - 1) / 2
        """What a step of one is."""
        self.places = _places(n)[self.top : self.bottom]
        weight = organ_weight(anatomy.tissue > 0, anatomy.fov_mm)[self.top : self.bottom]
        self.breath = weight[..., None] * torch.tensor(strength.breath_mm).flip(0) / self.mm
        # A coarse grid with the same corners, so that a place is the same place in both.
        self.middle = _places(n)[n // 2, n // 2]
        places_mm = (_places(n // TABLE_SPACING) - self.middle).flip(-1) * self.mm
        levels = torch.linspace(0, 1, N_LEVELS).tolist()
        table_mm = [_contracted(anatomy.heart, strength, places_mm, level) for level in levels]
        self.table = torch.stack(table_mm).flip(-1).permute(0, 3, 1, 2).contiguous() / self.mm

    def origins(self, contraction: torch.Tensor, respiration: torch.Tensor) -> torch.Tensor:
        """`(state, row, x, 2)`: where each pixel's tissue is at rest, from row `top` to `bottom`.

        contraction: `(state,)` from 0 to 1; respiration: `(state,)`, see `motion.Motion`.
        """
        places = self.places - respiration.to(self.breath)[:, None, None, None] * self.breath
        level = contraction.to(self.breath).clamp(0, 1) * (N_LEVELS - 1)
        below = level.floor().long().clamp(max=N_LEVELS - 2)
        fraction = (level - below)[:, None, None, None]
        table = torch.lerp(self.table[below], self.table[below + 1], fraction)
        return places + _sampled(table, places).permute(0, 2, 3, 1)

    def moved(self, maps: torch.Tensor, origins: torch.Tensor, mode: str = "bicubic") -> torch.Tensor:
        """`(state, y, x)`: real maps of the chest at rest, one or one a state, as they have moved.

        Zero outside the rows.
        """
        n = maps.shape[-1]
        moved = torch.zeros(len(origins), n, n)
        maps = maps.expand(len(origins), n, n)[:, None]
        moved[:, self.top : self.bottom] = _sampled(maps, origins, mode)[:, 0]
        return moved


def organ_weight(body: torch.Tensor, fov_mm: float) -> torch.Tensor:
    """`(y, x)` from 0 at the skin, and in the rear fifth of the body, to 1 inside; smooth."""
    from scipy.ndimage import distance_transform_edt, gaussian_filter

    n = len(body)
    depth_mm = distance_transform_edt(body.numpy()) * (fov_mm / n)
    rows = torch.nonzero(body.any(1))[:, 0]
    back = float(rows[-1]) if len(rows) else n
    height = back - float(rows[0]) if len(rows) else n
    from_back = (back - torch.arange(n)) / height
    weight = _ramp(torch.from_numpy(depth_mm).float() / 45) * _ramp((from_back - 0.2) / 0.25)[:, None]
    return torch.from_numpy(gaussian_filter(weight.numpy(), 4 / (fov_mm / n)))


def _places(n: int) -> torch.Tensor:
    axis = torch.linspace(-1, 1, n)
    return torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1)


def _ramp(x: torch.Tensor) -> torch.Tensor:
    x = x.clamp(0, 1)
    return x * x * (3 - 2 * x)


def _contracted(
    heart: HeartContours, strength: Strength, places_mm: torch.Tensor, contraction: float
) -> torch.Tensor:
    """`(y, x, 2)`: from each place to where its tissue is before the contraction, in mm."""
    distance, (inner, middle, outer) = heart.polar(places_mm)
    at_rest = torch.stack([0 * inner, inner, middle, outer, outer + strength.faded_mm])
    middle_now = middle * (1 - contraction * strength.epicardium)
    now = torch.stack(
        [
            0 * inner,
            inner * (1 - contraction * strength.endocardium),
            middle_now,
            middle_now + (outer - middle) * (1 - contraction * strength.right_ventricle),
            outer + strength.faded_mm,
        ]
    )
    origin = distance.clone()
    for k in range(len(now) - 1):
        share = (distance - now[k]) / (now[k + 1] - now[k]).clamp(min=1e-6)
        between = at_rest[k] + share * (at_rest[k + 1] - at_rest[k])
        origin = torch.where((share >= 0) & (share <= 1), between, origin)
    outward = places_mm - torch.tensor(heart.centre_mm)
    return outward * ((origin - distance) / distance.clamp(min=1e-6))[..., None]


def _sampled(maps: torch.Tensor, grid: torch.Tensor, mode: str = "bilinear") -> torch.Tensor:
    return grid_sample(maps, grid, mode=mode, padding_mode="border", align_corners=True)
