"""A chest drawn by formulas, in a plane across the left ventricle: no two seeds alike, no data needed."""

import math

import torch

from recon_core.dynamic.anatomy import N_ANGLES, Anatomy, HeartContours, pixel_positions_mm, with_properties
from recon_core.dynamic.tissues import Tissue
from recon_core.training.draws import Draws

FOV_MM = 300.0
RIGHT_VENTRICLE_WALL_MM = 3.5

Harmonics = tuple[tuple[int, float, float], ...]
"""Order, amplitude relative to the radius, and phase of each wave along an edge."""


def chest_phantom(n: int, draws: Draws, *, fov_mm: float = FOV_MM, field_strength_t: float = 3.0) -> Anatomy:
    """`(n, n)` maps of one subject: body wall, lungs, liver, spine, vessels and a two-chambered heart.

    Anterior is up, the patient's left on the right. Sizes and places vary with `draws`; they scale with
    `fov_mm`, so that the chest always fits its view.
    """
    canvas = _Canvas(n)
    size = draws.uniform(0.94, 1.04)
    width, height = 135 * size, 98 * size * draws.uniform(0.95, 1.06)
    rim = draws.uniform(6, 16)
    wall = rim + draws.uniform(11, 15)
    body = _harmonics(draws, 0.015)
    shells = (Tissue.FAT, 0.0), (Tissue.MUSCLE, rim), (Tissue.FAT, wall - 3), (Tissue.LUNG, wall)
    for tissue, depth in shells:
        canvas.paint(tissue, 0, 0, height - depth, width - depth, bent=body)
    _ribs(canvas, height - rim - 6, width - rim - 6, draws)
    centre = (draws.uniform(-18, -6), draws.uniform(14, 28))
    # The mediastinum between the lungs, then what lies on it.
    for y, x, half_height, half_width in (
        (centre[0] - 3, centre[1] - 14, 46, 54),
        (height - 62, 2, 40, 24),
        (30 - height, 0, 40, 22),
    ):
        canvas.paint(
            Tissue.FAT, y, x, half_height, half_width, bent=_harmonics(draws, 0.03), only=Tissue.LUNG
        )
    liver = (draws.uniform(28, 40), -70 * size, 44 * size, 46 * size, 0.35)
    canvas.paint(Tissue.LIVER, *liver, bent=_harmonics(draws, 0.05), only=Tissue.LUNG)
    for _ in range(6):
        y, x = draws.uniform(12, 60), draws.uniform(-95, -45)
        canvas.paint(Tissue.BLOOD, y, x, *draws.uniforms(1.5, 3, 2).tolist(), only=Tissue.LIVER)
    canvas.paint(Tissue.MUSCLE, height - 24, 0, 20, 46)
    canvas.paint(Tissue.MARROW, height - 38, 0, 15, 18)
    canvas.paint(Tissue.BLOOD, height - 60, draws.uniform(16, 24), 11 * size, 11 * size)
    for _ in range(14):
        y, x = draws.uniform(-60, 40), draws.uniform(-100, 110)
        canvas.paint(Tissue.BLOOD, y, x, *draws.uniforms(0.8, 2, 2).tolist(), only=Tissue.LUNG)
    heart = _heart(canvas, centre, draws)
    scale = fov_mm / FOV_MM
    heart = HeartContours(centre_mm=(scale * centre[0], scale * centre[1]), radii_mm=scale * heart.radii_mm)
    return with_properties(canvas.tissue, heart, draws, fov_mm=fov_mm, field_strength_t=field_strength_t)


class _Canvas:
    """The tissue map, painted from the back to the front; lengths in mm of a view `FOV_MM` wide."""

    def __init__(self, n: int) -> None:
        self.positions = pixel_positions_mm(n, FOV_MM)
        self.tissue = torch.full((n, n), int(Tissue.AIR), dtype=torch.uint8)

    def paint(
        self,
        tissue: Tissue,
        y: float,
        x: float,
        half_height: float,
        half_width: float,
        turn_rad: float = 0.0,
        *,
        bent: Harmonics = (),
        only: Tissue | None = None,
    ) -> None:
        """Fill an ellipse, its edge bent by harmonics of the angle, `only` where another tissue is."""
        dy, dx = self.positions[..., 0] - y, self.positions[..., 1] - x
        cos, sin = math.cos(turn_rad), math.sin(turn_rad)
        v, u = (cos * dy - sin * dx) / half_height, (cos * dx + sin * dy) / half_width
        angle_rad = torch.atan2(v, u) if bent else u
        edge = 1 + sum(amplitude * torch.sin(order * angle_rad + start) for order, amplitude, start in bent)
        inside = torch.hypot(v, u) < edge
        self.tissue[inside if only is None else inside & (self.tissue == only)] = int(tissue)

    def fill(self, tissue: Tissue, inside: torch.Tensor) -> None:
        """Set the tissue where a mask is true."""
        self.tissue[inside] = int(tissue)


def _harmonics(draws: Draws, strength: float) -> Harmonics:
    return tuple(
        (order, strength * float(draws.normal()), draws.uniform(0, 2 * math.pi)) for order in range(2, 6)
    )


def _ribs(canvas: _Canvas, half_height: float, half_width: float, draws: Draws) -> None:
    for number in range(10):
        angle_rad = 2 * math.pi * (number + draws.uniform(0.2, 0.8)) / 10
        y, x = half_height * math.sin(angle_rad), half_width * math.cos(angle_rad)
        along_rad = math.atan2(half_height * math.cos(angle_rad), -half_width * math.sin(angle_rad))
        canvas.paint(Tissue.MARROW, y, x, 3.5, draws.uniform(9, 14), along_rad, only=Tissue.MUSCLE)


def _heart(canvas: _Canvas, centre: tuple[float, float], draws: Draws) -> HeartContours:
    """Paint the ventricles about `centre`, and return their contours."""
    angle_rad = 2 * math.pi * torch.arange(N_ANGLES) / N_ANGLES
    oval = 1 + 0.05 * torch.cos(2 * (angle_rad - draws.uniform(0, math.pi)))
    endocardium = draws.uniform(21, 26) * oval
    epicardium = endocardium + draws.uniform(8, 11) * (1 + 0.1 * torch.cos(angle_rad - draws.uniform(0, 6)))
    # The right ventricle is a crescent on the septal side: to the patient's right and anterior.
    away_rad = angle_rad - math.pi - draws.uniform(0.1, 0.6)
    away_rad = torch.atan2(away_rad.sin(), away_rad.cos())
    crescent = draws.uniform(24, 34) * torch.cos(0.5 * math.pi * away_rad / draws.uniform(1.15, 1.4))
    crescent = torch.where(away_rad.abs() < 1.4, crescent, 0).clamp(min=0)
    outer = epicardium + crescent.clamp(min=2)
    heart = HeartContours(centre_mm=centre, radii_mm=torch.stack([endocardium, epicardium, outer]))

    distance, (inner, middle, free_wall) = heart.polar(canvas.positions)
    has_ventricle = free_wall - middle > 2 * RIGHT_VENTRICLE_WALL_MM
    canvas.fill(Tissue.MYOCARDIUM, (distance < free_wall) & has_ventricle)
    canvas.fill(Tissue.BLOOD, (distance < free_wall - RIGHT_VENTRICLE_WALL_MM) & has_ventricle)
    canvas.fill(Tissue.MYOCARDIUM, distance < middle)
    canvas.fill(Tissue.BLOOD, distance < inner)
    for turn_rad in (draws.uniform(0.3, 1.1), draws.uniform(2.2, 3.0)):  # papillary muscles
        y, x = (centre[i] + 0.68 * 23 * f(turn_rad) for i, f in enumerate((math.sin, math.cos)))
        canvas.paint(Tissue.MYOCARDIUM, y, x, *draws.uniforms(3.0, 4.5, 2).tolist())
    return heart
