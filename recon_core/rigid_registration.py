"""How far an image of a patient is turned and shifted in plane against another, of whatever contrast."""

import math
from dataclasses import dataclass, replace

import torch

from recon_core.image_geometry import ImageGeometry
from recon_core.resample import resample

ANGLES_DEG = 14.0
"""Turns searched to either side."""
SHIFTS_MM = 16.0
"""Shifts searched to either side, along x and along y."""
_COARSE_MM, _COARSE_SMOOTHING_MM, _COARSE_STEPS_DEG = 2, 2.0, (2.0, 1.0)
_FINE_MM, _FINE_SMOOTHING_MM, _FINE_STEP_DEG = 1, 1.5, 1.0
_N_SLICES = 8
_EDGE_STRENGTH = 0.4
"""Of the gradients' own weighted mean: what counts half as an edge."""
_BESIDE_MM = (4.0, 10.0)
"""From the match: so far away like anatomy still agrees, and the same edges no longer do."""
_WHOLE = 0.99
"""Share of a smoothed neighbourhood that must be known for an edge to count."""

_TINY = torch.finfo(torch.float32).tiny


@dataclass(frozen=True, slots=True)
class Alignment:
    """The rigid motion that brings an image onto another."""

    motion: torch.Tensor
    """`(4, 4)` float64, in patient coordinates."""
    angle_deg: float
    """About the centre of the other image, from its x to its y."""
    shift_mm: tuple[float, float]
    """Along its x and y, after the turn."""
    similarity: float
    """How much better edges agree than some millimetres beside: 1 at most, near 0 for unlike images."""
    is_inside: bool
    """Whether the match lies inside the range that is searched, not at its end."""


def search_grid(geometry: ImageGeometry) -> ImageGeometry:
    """The grid on which `register_in_plane` compares images with one of `geometry`.

    Square voxels in the same planes, wide enough for every shift; of a volume, some slices spread over it.
    """
    n_x, n_y = (16 * math.ceil((max(mm, 2 * SHIFTS_MM) + SHIFTS_MM) / 16) for mm in geometry.fov_mm[:2])
    return replace(
        geometry,
        matrix=(n_x // _FINE_MM, n_y // _FINE_MM, min(geometry.matrix[2], _N_SLICES)),
        fov_mm=(float(n_x), float(n_y), geometry.fov_mm[2]),
        thickness_mm=geometry.slice_mm,
    )


def register_in_plane(
    moving: torch.Tensor,
    moving_known: torch.Tensor,
    fixed: torch.Tensor,
    fixed_known: torch.Tensor,
    grid: ImageGeometry,
) -> Alignment:
    """The turn and shift in plane, common to all slices, that best bring one image's edges onto the other's.

    Edges are compared by direction, whichever side is brighter (normalised gradient fields, Haber and
    Modersitzki 2006, doi:10.1007/11866763_89)::

        q = (∂x + i∂y)² / (|∂|² + ε²),     c(t) = Re Σ q_fixed(r) q̄_moving(r − t) / (‖q_fixed‖ ‖q_moving‖)

    The square makes opposite directions one, and c a correlation, which a Fourier transform gives for all
    shifts t at once (orientation correlation, Fitch et al. 2002, British Machine Vision Conference). Turns
    are tried in steps on a coarse grid, then between steps on a fine one: nothing depends on a start, no
    local maximum passes for the best. Motion through the plane is not looked for; it lowers the similarity.

    Args:
        moving: `(z, y, x)` real, on `grid`.
        moving_known: `(z, y, x)` boolean, where `moving` is not empty for want of data.
        fixed: the image that stays.
        fixed_known: the same of `fixed`.
        grid: as `search_grid` makes it.
    """
    factor = _COARSE_MM // _FINE_MM
    coarse = replace(grid, matrix=(grid.matrix[0] // factor, grid.matrix[1] // factor, grid.matrix[2]))
    images = [resample(image, grid, coarse)[0] for image in (moving, fixed)]
    known = [resample(where.to(moving.dtype), grid, coarse)[0] > 0.5 for where in (moving_known, fixed_known)]
    search = _Search(images[0], known[0], images[1], known[1], coarse, _COARSE_SMOOTHING_MM)
    n = round(ANGLES_DEG / _COARSE_STEPS_DEG[0])
    angle = max((i * _COARSE_STEPS_DEG[0] for i in range(-n, n + 1)), key=search.peak)
    is_inside = abs(angle) < ANGLES_DEG
    for step in _COARSE_STEPS_DEG[1:]:
        angle = max((angle - step, angle, angle + step), key=search.peak)

    search = _Search(moving, moving_known, fixed, fixed_known, grid, _FINE_SMOOTHING_MM)
    angle += _FINE_STEP_DEG * _vertex(*(search.peak(angle + i * _FINE_STEP_DEG) for i in (-1, 0, 1)))
    agreement = search.agreement(angle)
    y, x = divmod(int(_within(agreement, grid).argmax()), grid.matrix[0])
    peak = float(agreement[y, x])
    rows, columns = (torch.arange(n, device=agreement.device) for n in agreement.shape)
    distance = _FINE_MM * torch.hypot(columns - float(x), rows[:, None] - float(y))
    beside = (distance >= _BESIDE_MM[0]) & (distance <= _BESIDE_MM[1])
    shift_mm = (
        _FINE_MM * (x - grid.matrix[0] // 2 + _vertex(*agreement[y, x - 1 : x + 2].tolist())),
        _FINE_MM * (y - grid.matrix[1] // 2 + _vertex(*agreement[y - 1 : y + 2, x].tolist())),
    )
    return Alignment(
        motion=in_plane_motion(grid, angle, shift_mm),
        angle_deg=angle,
        shift_mm=shift_mm,
        similarity=peak - float(agreement[beside].mean()),
        is_inside=is_inside and max(map(abs, shift_mm)) < SHIFTS_MM - _FINE_MM,
    )


def in_plane_motion(geometry: ImageGeometry, angle_deg: float, shift_mm: tuple[float, float]) -> torch.Tensor:
    """`(4, 4)` float64 in patient coordinates: a turn about the centre, from x to y, then a shift."""
    x, y, _ = torch.tensor(geometry.directions, dtype=torch.float64)
    centre = torch.tensor(geometry.centre_mm, dtype=torch.float64)
    cos, sin = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    motion = torch.eye(4, dtype=torch.float64)
    turn = (cos - 1) * (torch.outer(x, x) + torch.outer(y, y)) + sin * (torch.outer(y, x) - torch.outer(x, y))
    motion[:3, :3] += turn
    motion[:3, 3] = shift_mm[0] * x + shift_mm[1] * y - turn @ centre
    return motion


class _Search:
    """The agreement of edges by turn and shift, at one resolution."""

    def __init__(
        self,
        moving: torch.Tensor,
        moving_known: torch.Tensor,
        fixed: torch.Tensor,
        fixed_known: torch.Tensor,
        grid: ImageGeometry,
        smoothing_mm: float,
    ) -> None:
        self._grid = grid
        k_x, k_y = (
            torch.fft.fftfreq(n, mm, device=fixed.device)
            for n, mm in zip(grid.matrix[:2], grid.voxel_mm[:2], strict=True)
        )
        k_y = k_y[:, None]
        self._smoothing = torch.exp(-2 * (math.pi * smoothing_mm) ** 2 * (k_x.square() + k_y.square()))
        self._slopes = 2j * math.pi * (k_x + 1j * k_y) * self._smoothing
        self._moving = torch.stack([moving, self._whole(moving_known).to(moving.dtype)])
        self._fixed = self._edges(fixed, self._whole(fixed_known))
        self._peaks: dict[float, float] = {}

    def peak(self, angle_deg: float) -> float:
        """The agreement at the best shift."""
        if angle_deg not in self._peaks:
            self._peaks[angle_deg] = float(_within(self.agreement(angle_deg), self._grid).max())
        return self._peaks[angle_deg]

    def agreement(self, angle_deg: float) -> torch.Tensor:
        """`(y, x)`: c of a turn by the shift, that of no shift at n // 2."""
        turned = self._grid.moved(in_plane_motion(self._grid, angle_deg, (0.0, 0.0)))
        (moving, known), _ = resample(self._moving, turned, self._grid)
        edges = self._edges(moving, known > 0.5)
        agreement = torch.fft.ifft2((self._fixed * edges.conj()).sum(dim=0)).real
        # Parseval: the norms of the fields are those of their transforms by √(n_y n_x).
        norms = float(self._fixed.norm() * edges.norm()) / agreement.numel()
        shifted: torch.Tensor = torch.fft.fftshift(agreement) / max(norms, _TINY)
        return shifted

    def _edges(self, image: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
        """`(z, ky, kx)`: the transform of q, of zero where too little is known."""
        slopes = torch.fft.ifft2(torch.fft.fft2(image) * self._slopes) * known
        power = slopes.real.square() + slopes.imag.square()
        strength = _EDGE_STRENGTH * power.sum() / power.sqrt().sum().clamp(min=_TINY)
        edges: torch.Tensor = torch.fft.fft2(slopes.square() / (power + strength.square()).clamp(min=_TINY))
        return edges

    def _whole(self, known: torch.Tensor) -> torch.Tensor:
        """Where all is known that smoothing brings together: what data end with is no edge of tissue."""
        share: torch.Tensor = torch.fft.ifft2(torch.fft.fft2(known.float()) * self._smoothing).real
        return share > _WHOLE


def _within(agreement: torch.Tensor, grid: ImageGeometry) -> torch.Tensor:
    """With the shifts that are not searched below every other."""
    n_x, n_y, _ = grid.matrix
    reach = int(SHIFTS_MM / grid.voxel_mm[0])
    within = torch.full_like(agreement, -math.inf)
    window = (slice(n_y // 2 - reach, n_y // 2 + reach + 1), slice(n_x // 2 - reach, n_x // 2 + reach + 1))
    within[window] = agreement[window]
    return within


def _vertex(before: float, at: float, after: float) -> float:
    """Where the parabola through three values has its maximum: steps from the middle one, at most one."""
    bend = before - 2 * at + after
    return max(-1.0, min(1.0, 0.5 * (before - after) / bend)) if bend < 0 else 0.0
