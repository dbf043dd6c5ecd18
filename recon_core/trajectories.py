"""Where a scan samples k-space: spokes and spirals, in cycles per field of view."""

import math

import torch

from recon_core.errors import InputError

GAMMA_HZ_PER_T = 42.577478518e6
FINER = 8
"""Integration steps of a spiral in a dwell time."""
MAX_SPIRAL_SAMPLES = 1 << 15


def golden_angle(n: int = 1) -> float:
    """The angle in radians between successive spokes: π / (τ + n − 1), τ the golden ratio.

    n = 1 is the golden angle of 111.246°, larger ones are the tiny golden angles: 68.754°, 49.750°, … 23.628°
    for n = 7. Winkelmann et al. 2007, doi:10.1109/TMI.2006.885337; Wundrak et al. 2015,
    doi:10.1109/TMI.2014.2382572.
    """
    return math.pi / ((1 + math.sqrt(5)) / 2 + n - 1)


def golden_directions(n: int) -> torch.Tensor:
    """Directions (readout, 3) of spokes spread over the half sphere: multiples of two golden means.

    Chan et al. 2009, doi:10.1002/mrm.21837.
    """
    number = torch.arange(n, dtype=torch.float64)
    z, turn = (number * 0.46557123) % 1, (number * 0.68232780) % 1
    across = (1 - z.square()).sqrt()
    x, y = across * torch.cos(2 * math.pi * turn), across * torch.sin(2 * math.pi * turn)
    return torch.stack([x, y, z], dim=-1)


def directions(angles_rad: torch.Tensor) -> torch.Tensor:
    """(readout, 2): unit vectors (x, y) at angles (readout,) from x towards y."""
    return torch.stack([torch.cos(angles_rad), torch.sin(angles_rad)], dim=-1)


def radial(
    directions: torch.Tensor, n_samples: int, *, spacing: float = 1.0, center_sample: float | None = None
) -> torch.Tensor:
    """Spokes k_s = (s − center_sample) · spacing · direction.

    Args:
        directions: unit vectors (readout, 2 or 3), as `directions` and `golden_directions` give.
        n_samples: of a spoke.
        spacing: of samples in cycles per field of view; 0.5 of a readout oversampled twice.
        center_sample: that of k = 0; n_samples // 2 if None.

    Returns:
        (readout, sample, 2 or 3) in the dtype of `directions`.
    """
    centre = n_samples // 2 if center_sample is None else center_sample
    positions = (torch.arange(n_samples, dtype=directions.dtype) - centre) * spacing
    return positions[:, None] * directions[:, None, :]


def spiral_arm(
    fov_mm: tuple[float, ...],
    n_interleaves: int,
    *,
    max_k_per_mm: float,
    max_gradient_mt_per_m: float,
    max_slew_t_per_m_per_s: float,
    dwell_time_us: float,
) -> torch.Tensor:
    """One arm from the centre outwards, as fast as the gradient system allows: (sample, 2), cycles per mm.

    k = r e^{iθ} with dθ/dr = 2π F(r) / n_interleaves, so that arms turned by equal steps lie 1 / F apart.
    Lee et al. 2003, doi:10.1002/mrm.10644 (variable density), after Hargreaves' `vds`.

    Args:
        fov_mm: F as a polynomial, F(r) = Σ fov_mm[i] (r / max_k_per_mm)^i; one number for uniform density.
        n_interleaves: arms that sample k-space together.
        max_k_per_mm: radius at which the arm ends: 1 / (2 · resolution in mm).
        max_gradient_mt_per_m, max_slew_t_per_m_per_s: of the gradient system.
        dwell_time_us: between samples.

    Raises:
        InputError: parameters that are not positive, or an arm of more than `MAX_SPIRAL_SAMPLES`.
    """
    limits = (max_k_per_mm, max_gradient_mt_per_m, max_slew_t_per_m_per_s, dwell_time_us, n_interleaves)
    if min(limits) <= 0 or not fov_mm or fov_mm[0] <= 0:
        raise InputError(
            f"spiral: expected positive parameters, got field of view {fov_mm} mm, {n_interleaves} "
            f"interleaves, {max_k_per_mm} cycles per mm, {max_gradient_mt_per_m} mT/m, "
            f"{max_slew_t_per_m_per_s} T/m/s, dwell time {dwell_time_us} us"
        )
    step_s = dwell_time_us * 1e-6 / FINER
    speed_limit = GAMMA_HZ_PER_T * max_gradient_mt_per_m * 1e-6  # cycles per mm and s
    slew_limit = GAMMA_HZ_PER_T * max_slew_t_per_m_per_s * 1e-3
    r = speed = angle = 0.0
    arm: list[tuple[float, float]] = []
    n_steps = 0
    while r < max_k_per_mm:
        if n_steps % FINER == 0:
            arm.append((r * math.cos(angle), r * math.sin(angle)))
        share = r / max_k_per_mm
        fov = sum(f * share**i for i, f in enumerate(fov_mm))
        slope = sum(i * f * share ** (i - 1) for i, f in enumerate(fov_mm) if i) / max_k_per_mm
        c, c_slope = (2 * math.pi * value / n_interleaves for value in (fov, slope))
        speed += step_s * _radial_acceleration(r, speed, c, c_slope, slew_limit)
        speed = min(speed, speed_limit / math.sqrt(1 + (c * r) ** 2))
        r += speed * step_s
        angle += c * speed * step_s
        n_steps += 1
        if len(arm) > MAX_SPIRAL_SAMPLES:
            raise InputError(
                f"spiral: expected an arm of at most {MAX_SPIRAL_SAMPLES} samples, got one that is then at "
                f"{r:.3g} of {max_k_per_mm:.3g} cycles per mm; check its field of view and gradient limits"
            )
    return torch.tensor(arm, dtype=torch.float64)


def rotated(arm: torch.Tensor, angles_rad: torch.Tensor) -> torch.Tensor:
    """An arm (sample, 2) turned from x towards y: (readout, sample, 2)."""
    cos, sin = torch.cos(angles_rad)[:, None], torch.sin(angles_rad)[:, None]
    x, y = arm.unbind(-1)
    return torch.stack([cos * x - sin * y, sin * x + cos * y], dim=-1)


def _radial_acceleration(r: float, speed: float, c: float, c_slope: float, slew_limit: float) -> float:
    """The largest r″ for which |k″| keeps to the slew rate, k = r e^{iθ} and θ′ = c r′.

    |k″|² = (r″ − c²r r′²)² + (c r r″ + (2c + c_slope r) r′²)², a quadratic equation for r″.
    """
    turning = 2 * c + c_slope * r
    a = 1 + (c * r) ** 2
    half_b = (c * r * turning - c**2 * r) * speed**2
    rest = ((c**2 * r) ** 2 + turning**2) * speed**4 - slew_limit**2
    root = half_b**2 - a * rest
    return (-half_b + math.sqrt(root)) / a if root > 0 else -half_b / a
