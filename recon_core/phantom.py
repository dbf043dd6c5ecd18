"""An analytic head: ellipsoids with T1-weighted intensities, known exactly in image space and in k-space.

The head is a sum of ellipsoids. Cut at height z, each is an ellipse with a closed-form Fourier transform
(Van de Walle et al. 2000, doi:10.1109/42.887612), so a grid of any size samples one and the same object.
Lengths are in mm; x points to the right of the image, y downward (anterior is up), z out of it.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch

FOV_MM = 240.0


class Ellipse(NamedTuple):
    """One ellipse: centre and half axes in mm, angle from x towards y, and the intensity it adds."""

    x_mm: float
    y_mm: float
    half_u_mm: float
    half_v_mm: float
    angle_rad: float
    intensity: float


class Ellipsoid(NamedTuple):
    """One ellipsoid, turned about z only; `half_w_mm` is its half axis along z."""

    x_mm: float
    y_mm: float
    z_mm: float
    half_u_mm: float
    half_v_mm: float
    half_w_mm: float
    angle_deg: float
    intensity: float

    def cut(self, z_mm: float) -> Ellipse | None:
        """The ellipse in the plane at `z_mm`, None where the plane misses."""
        height = (z_mm - self.z_mm) / self.half_w_mm
        if abs(height) >= 1:
            return None
        shrink = math.sqrt(1 - height**2)
        u_mm, v_mm = shrink * self.half_u_mm, shrink * self.half_v_mm
        return Ellipse(self.x_mm, self.y_mm, u_mm, v_mm, math.radians(self.angle_deg), self.intensity)


# Intensities add up from the outside in: scalp 0.95, bone 0.08, marrow 0.40, cerebrospinal fluid (CSF) 0.18,
# grey matter 0.50, white matter 0.78. Nothing lies closer than 2 mm to the edge of the field of view.
SHELLS = (
    Ellipsoid(0, 0, 0, 80, 99, 130, 0, 0.95),
    Ellipsoid(0, 0, 0, 75.5, 94.5, 126, 0, -0.87),
    Ellipsoid(0, 0, 0, 73.5, 92.5, 124, 0, 0.32),
    Ellipsoid(0, 0, 0, 71, 90, 122, 0, -0.32),
    Ellipsoid(0, 0, 0, 69, 88, 120, 0, 0.10),
    Ellipsoid(0, 0, 0, 66, 85, 117, 0, 0.32),
    Ellipsoid(0, 0, 0, 50, 68, 105, 0, 0.28),
)
DEEP = (
    Ellipsoid(-10.5, -20, 12, 4.2, 15, 46, -14, -0.60),
    Ellipsoid(10.5, -20, 12, 4.2, 15, 46, 14, -0.60),
    Ellipsoid(-18, 31, 8, 4.4, 14, 44, 20, -0.60),
    Ellipsoid(18, 31, 8, 4.4, 14, 44, -20, -0.60),
    Ellipsoid(-18.5, -21, 4, 2.8, 12, 42, -14, -0.25),
    Ellipsoid(18.5, -21, 4, 2.8, 12, 42, 14, -0.25),
    Ellipsoid(-29, -5, 0, 5.2, 16, 44, -8, -0.22),
    Ellipsoid(29, -5, 0, 5.2, 16, 44, 8, -0.22),
    Ellipsoid(-9, 5.5, -4, 5.6, 9.5, 40, 18, -0.20),
    Ellipsoid(9, 5.5, -4, 5.6, 9.5, 40, -18, -0.20),
    Ellipsoid(0, 4, -10, 1.3, 12, 50, 0, -0.60),
)
# Vessels (bright inflow), the sagittal sinus, the fissure between the hemispheres, small lesions.
DETAIL = (
    Ellipsoid(0, 87, 0, 3.0, 1.6, 90, 0, 0.70),
    Ellipsoid(-1.3, -46, 0, 0.8, 0.8, 60, 0, 0.50),
    Ellipsoid(1.4, -46, 0, 0.7, 0.7, 60, 0, 0.50),
    Ellipsoid(-43, -26, 0, 0.7, 0.7, 50, 0, 0.50),
    Ellipsoid(43.5, -26, 0, 0.7, 0.7, 50, 0, 0.50),
    Ellipsoid(0, -63, 10, 0.9, 20.5, 90, 0, -0.32),
    Ellipsoid(0, 61, 10, 0.9, 22.5, 90, 0, -0.32),
    Ellipsoid(-31, 40, 10, 1.1, 0.8, 24, 30, -0.35),
    Ellipsoid(27, -44, -5, 0.8, 1.3, 24, 60, -0.35),
    Ellipsoid(35, -31, 5, 0.6, 0.6, 20, 0, -0.35),
)
N_GYRI = 38
GOLDEN_RATIO = (math.sqrt(5) - 1) / 2


def head_ellipsoids() -> Iterator[Ellipsoid]:
    """Every ellipsoid of the head, folded cortex included."""
    yield from SHELLS
    yield from DEEP
    yield from DETAIL
    for i in range(2 * N_GYRI):
        yield _fold(math.pi * (i + 0.5) / N_GYRI, is_sulcus=i % 2 == 1, vary=(i * GOLDEN_RATIO) % 1)


def _fold(turn: float, *, is_sulcus: bool, vary: float) -> Ellipsoid:
    """One gyrus (a finger of white matter) or sulcus (a cleft of CSF), square to the brain's surface.

    `vary` in [0, 1) makes the folds irregular, yet the same on every machine.
    """
    a_mm, b_mm = (57.8, 76.8) if is_sulcus else (56.4, 74.9)
    x_mm, y_mm = a_mm * math.sin(turn), -b_mm * math.cos(turn)
    outward_deg = math.degrees(math.atan2(y_mm / b_mm**2, x_mm / a_mm**2)) + 24 * (vary - 0.5)
    z_mm = 24 * (vary - 0.5)
    if is_sulcus:
        return Ellipsoid(x_mm, y_mm, z_mm, 4.8 + 2.2 * vary, 0.7 + 0.5 * vary, 80, outward_deg, -0.30)
    return Ellipsoid(x_mm, y_mm, z_mm, 4.8 + 1.9 * vary, 1.6 + 0.6 * vary, 80, outward_deg, 0.26)


def head_phantom(shape_yx: tuple[int, int], *, fov_mm: float = FOV_MM, z_mm: float = 0.0) -> torch.Tensor:
    """One axial slice of the head as a real float32 image (y, x), edges averaged over the pixel.

    Pixel i of n lies at (i − n // 2)·fov_mm / n along either axis.
    """
    image = torch.zeros(shape_yx)
    pixel_y_mm, pixel_x_mm = (fov_mm / n for n in shape_yx)
    y_mm, x_mm = (positions_mm(n, fov_mm) for n in shape_yx)
    for ellipse in _cuts(z_mm):
        reach_mm = max(ellipse.half_u_mm, ellipse.half_v_mm) + max(pixel_x_mm, pixel_y_mm)
        rows, columns = (_within(y_mm, ellipse.y_mm, reach_mm), _within(x_mm, ellipse.x_mm, reach_mm))
        image[rows, columns] += ellipse.intensity * _coverage(
            ellipse, y_mm[rows, None], x_mm[None, columns], math.sqrt(pixel_x_mm * pixel_y_mm)
        )
    return image


def head_kspace(shape_yx: tuple[int, int], *, fov_mm: float = FOV_MM, z_mm: float = 0.0) -> torch.Tensor:
    """k-space (ky, kx) of one slice of the head, exact, scaled like `recon_core.fourier.fft` of its image."""
    k_y, k_x = (torch.arange(n, dtype=torch.float64) - n // 2 for n in shape_yx)
    grid = torch.stack(torch.meshgrid(k_x, k_y, indexing="xy"), dim=-1)
    return head_samples(grid, shape_yx, fov_mm=fov_mm, z_mm=z_mm)


def head_samples(
    trajectory: torch.Tensor, shape_yx: tuple[int, int], *, fov_mm: float = FOV_MM, z_mm: float = 0.0
) -> torch.Tensor:
    """The same k-space at any places (..., 2): (kx, ky) in cycles per field of view. complex128.

    Each ellipse gives 2π·a·b·J₁(κ)/κ · e^(−2πi k·r₀) with κ = 2π·|(a·k_u, b·k_v)|. Scaled for a matrix of
    `shape_yx` like `recon_core.nufft.Nufft` of its image.
    """
    k_x, k_y = (trajectory.double() / fov_mm).unbind(-1)
    kspace = torch.zeros(k_x.shape, dtype=torch.complex128)
    for x_mm, y_mm, half_u_mm, half_v_mm, angle_rad, intensity in _cuts(z_mm):
        k_u = k_x * math.cos(angle_rad) + k_y * math.sin(angle_rad)
        k_v = k_y * math.cos(angle_rad) - k_x * math.sin(angle_rad)
        kappa = 2 * math.pi * torch.hypot(half_u_mm * k_u, half_v_mm * k_v)
        jinc = torch.where(kappa < 1e-9, 0.5, torch.special.bessel_j1(kappa) / kappa.clamp(min=1e-9))
        shift = -2 * math.pi * (k_x * x_mm + k_y * y_mm)
        kspace += (
            intensity * 2 * math.pi * half_u_mm * half_v_mm * torch.polar(jinc.abs(), shift) * jinc.sign()
        )
    return kspace * (math.sqrt(math.prod(shape_yx)) / fov_mm**2)


def positions_mm(n: int, fov_mm: float) -> torch.Tensor:
    """Where the n samples of an axis lie; sample n // 2 is at zero."""
    return (torch.arange(n) - n // 2) * (fov_mm / n)


def _cuts(z_mm: float) -> Iterator[Ellipse]:
    for ellipsoid in head_ellipsoids():
        ellipse = ellipsoid.cut(z_mm)
        if ellipse is not None:
            yield ellipse


def _within(positions: torch.Tensor, centre_mm: float, reach_mm: float) -> slice:
    inside = torch.nonzero((positions - centre_mm).abs() <= reach_mm)
    return slice(int(inside[0]), int(inside[-1]) + 1) if len(inside) else slice(0, 0)


def _coverage(ellipse: Ellipse, y_mm: torch.Tensor, x_mm: torch.Tensor, pixel_mm: float) -> torch.Tensor:
    """Fraction of each pixel inside the ellipse, from the distance to its edge to first order."""
    cos, sin = math.cos(ellipse.angle_rad), math.sin(ellipse.angle_rad)
    dx, dy = x_mm - ellipse.x_mm, y_mm - ellipse.y_mm
    u, v = (cos * dx + sin * dy) / ellipse.half_u_mm, (cos * dy - sin * dx) / ellipse.half_v_mm
    radius = torch.hypot(u, v)
    slope = torch.hypot(u / ellipse.half_u_mm, v / ellipse.half_v_mm).clamp(min=1e-12) / radius.clamp(
        min=1e-6
    )
    return (0.5 - (radius - 1) / (slope * pixel_mm)).clamp(0, 1)
