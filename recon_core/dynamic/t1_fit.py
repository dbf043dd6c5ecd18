"""T1 from image series: inversion recovery under FLASH, Look-Locker, and variable flip angles."""

import math
from dataclasses import dataclass

import torch

from recon_core.dynamic.bloch import InversionRecovery
from recon_core.dynamic.spoiled_echo import spoiled_echo
from recon_core.dynamic.variable_projection import CurveFit, fit_curves
from recon_core.errors import InputError

T1_RANGE_MS = (50.0, 5000.0)
MAX_RELATIVE_RESIDUAL = 0.5
"""Of a curve that is shown; noise alone leaves 0.9 and more."""


@dataclass(frozen=True)
class T1Fit:
    """Maps of the shape of one image, float32; all are zero where the fit is not valid."""

    t1_ms: torch.Tensor
    amplitude: torch.Tensor
    """Of the equilibrium's signal at a flip angle of 90 degrees; of the steady state for `look_locker_t1`."""
    inversion_efficiency: torch.Tensor | None
    """η, of `flash_recovery_t1`."""
    relative_residual: torch.Tensor
    """‖signal − curve‖ / ‖signal‖, where valid."""
    valid: torch.Tensor
    """Boolean: T1 within the range asked for, a curve of the right sense, and it explains the signal."""


def flash_recovery_t1(
    series: torch.Tensor,
    times_ms: torch.Tensor,
    sequence: InversionRecovery,
    *,
    flip_angle_scale: torch.Tensor | None = None,
    t1_range_ms: tuple[float, float] = T1_RANGE_MS,
    max_relative_residual: float = MAX_RELATIVE_RESIDUAL,
) -> T1Fit:
    """T1 of series under FLASH between inversions: s(t) = a + b e^(−t/T1*), 1/T1 = 1/T1* + ln(cos α)/TR.

    Three parameters a, b, T1*. The relation of T1* and T1 holds however well inversions invert and whatever
    they began from; the efficiency follows from b/a in the periodic state of `recon_core.dynamic.bloch`.
    Deichmann & Haase 1992, doi:10.1016/0022-2364(92)90347-A; Shaw et al. 2019, doi:10.1002/mrm.27567.

    Args:
        series: s, (time, z, y, x), complex, or real with its sign. Any constant phase.
        times_ms: t, (time,), from the inversion.
        sequence: flip angle, TR, delay and interval of the inversions.
        flip_angle_scale: (z, y, x), actual over nominal flip angle (B1); ones if None.
        t1_range_ms: T1 outside it is not valid.
        max_relative_residual: nor is a curve that leaves more of the signal than this.

    Raises:
        InputError: fewer than four times, or shapes that do not fit.
    """
    _require_series("FLASH recovery", series, times_ms, n_needed=4)
    scale = _flip_angle_scale(flip_angle_scale, series).flatten()
    rate = -torch.log(torch.cos(math.radians(sequence.flip_angle_deg) * scale)) / sequence.tr_ms
    shortest, longest = (
        float(1 / (1 / t1 + end)) for t1, end in zip(t1_range_ms, (rate.max(), rate.min()), strict=True)
    )
    fit = _exponential_fit(series, times_ms, shortest, longest)
    apparent_ms = fit.parameter.exp()
    t1_ms = 1 / (1 / apparent_ms - rate)
    steady, change = fit.coefficients.unbind(-1)
    recovery = torch.exp(-sequence.tr_ms / t1_ms)
    m_steady = (1 - recovery) / (1 - torch.exp(-sequence.tr_ms / apparent_ms))
    first, last = (
        m_steady * (1 + change / steady * torch.exp(-t / apparent_ms))
        for t in (sequence.delay_ms, sequence.interval_ms)
    )
    efficiency = ((1 - first) * torch.exp(sequence.delay_ms / t1_ms) - 1) / last
    valid = (change / steady < 0) & _within(t1_ms, t1_range_ms)
    amplitude = steady.abs() / (m_steady * torch.sin(math.radians(sequence.flip_angle_deg) * scale))
    return _masked(series, fit, valid, max_relative_residual, t1_ms, amplitude, efficiency)


def look_locker_t1(
    series: torch.Tensor,
    times_ms: torch.Tensor,
    *,
    inversion_efficiency: float = 1.0,
    t1_range_ms: tuple[float, float] = T1_RANGE_MS,
    max_relative_residual: float = MAX_RELATIVE_RESIDUAL,
) -> T1Fit:
    """T1 of s(t) = A − B e^(−t/T1*) after an inversion of equilibrium: T1 = T1*·(B/A − 1)/η.

    For Look-Locker and MOLLI, whose inversions wait for full recovery and whose flip angle is small or not
    known. Deichmann & Haase 1992, doi:10.1016/0022-2364(92)90347-A. Arguments as for `flash_recovery_t1`.
    """
    _require_series("Look-Locker", series, times_ms, n_needed=4)
    # Readouts make T1* shorter than T1, though seldom by more than a factor of ten.
    fit = _exponential_fit(series, times_ms, t1_range_ms[0] / 10, t1_range_ms[1])
    steady, change = fit.coefficients.unbind(-1)
    t1_ms = fit.parameter.exp() * (-change / steady - 1) / inversion_efficiency
    valid = _within(t1_ms, t1_range_ms)
    return _masked(series, fit, valid, max_relative_residual, t1_ms, steady.abs(), None)


def variable_flip_angle_t1(
    series: torch.Tensor,
    flip_angles_deg: torch.Tensor,
    tr_ms: float,
    *,
    flip_angle_scale: torch.Tensor | None = None,
    t1_range_ms: tuple[float, float] = T1_RANGE_MS,
    max_relative_residual: float = MAX_RELATIVE_RESIDUAL,
) -> T1Fit:
    """T1 of spoiled echoes at several flip angles: s(α) = M sin α (1 − E)/(1 − E cos α), E = e^(−TR/T1).

    Least squares of the signal itself, which unlike the line through s/sin α over s/tan α weights all angles
    as noise does. Christensen et al. 1974, doi:10.1021/j100612a022; Deoni et al. 2003, doi:10.1002/mrm.10407.

    Args:
        series: s, (flip angle, z, y, x), complex, or real with its sign. Any constant phase.
        flip_angles_deg: α, (flip angle,), nominal.
        tr_ms: TR.
        flip_angle_scale, t1_range_ms, max_relative_residual: as for `flash_recovery_t1`.

    Raises:
        InputError: fewer than two different flip angles, or shapes that do not fit.
    """
    _require_series("variable flip angle", series, flip_angles_deg, n_needed=2)
    scale = _flip_angle_scale(flip_angle_scale, series).flatten()
    angles_rad = torch.deg2rad(flip_angles_deg.to(scale)) * scale[:, None]

    def atoms(log_t1: torch.Tensor, voxels: slice) -> tuple[torch.Tensor, torch.Tensor]:
        angles, t1_ms = angles_rad[voxels], torch.exp(log_t1)[:, None]
        recovery, cosine = torch.exp(-tr_ms / t1_ms), torch.cos(angles)
        by_recovery = torch.sin(angles) * (cosine - 1) / (1 - recovery * cosine).square()
        slope = by_recovery * recovery * tr_ms / t1_ms
        return spoiled_echo(t1_ms, angles, tr_ms)[..., None], slope[..., None]

    fit = fit_curves(_real_signals(series), atoms, *map(math.log, t1_range_ms))
    t1_ms = fit.parameter.exp()
    valid = torch.ones_like(t1_ms, dtype=torch.bool)
    return _masked(series, fit, valid, max_relative_residual, t1_ms, fit.coefficients[:, 0].abs(), None)


def _exponential_fit(
    series: torch.Tensor, times_ms: torch.Tensor, shortest_ms: float, longest_ms: float
) -> CurveFit:
    """a + b e^(−t/T), p = log T."""
    times = times_ms.to(series.device, torch.float64)

    def atoms(log_time: torch.Tensor, _voxels: slice) -> tuple[torch.Tensor, torch.Tensor]:
        ratio = times * torch.exp(-log_time)[:, None]
        decay = torch.exp(-ratio)
        psi = torch.stack([torch.ones_like(decay), decay], -1)
        return psi, torch.stack([torch.zeros_like(decay), ratio * decay], -1)

    return fit_curves(_real_signals(series), atoms, math.log(shortest_ms), math.log(longest_ms))


def _real_signals(series: torch.Tensor) -> torch.Tensor:
    """(voxel, time) without the phase all times of a voxel have, up to a sign that no curve cares for."""
    signals = series.flatten(1).mT
    if not signals.is_complex():
        return signals
    doubled_phase = signals.square().sum(1, keepdim=True)
    rotation = torch.polar(torch.ones_like(doubled_phase.real), -doubled_phase.angle() / 2)
    return (signals * rotation).real


def _masked(
    series: torch.Tensor,
    fit: CurveFit,
    valid: torch.Tensor,
    max_relative_residual: float,
    t1_ms: torch.Tensor,
    amplitude: torch.Tensor,
    efficiency: torch.Tensor | None,
) -> T1Fit:
    valid = valid & fit.is_inside & (fit.relative_residual <= max_relative_residual)

    def image(values: torch.Tensor) -> torch.Tensor:
        return torch.where(valid, values, 0).float().reshape(series.shape[1:])

    return T1Fit(
        image(t1_ms),
        image(amplitude),
        None if efficiency is None else image(efficiency),
        image(fit.relative_residual),
        valid.reshape(series.shape[1:]),
    )


def _within(t1_ms: torch.Tensor, t1_range_ms: tuple[float, float]) -> torch.Tensor:
    return (t1_ms >= t1_range_ms[0]) & (t1_ms <= t1_range_ms[1])


def _flip_angle_scale(scale: torch.Tensor | None, series: torch.Tensor) -> torch.Tensor:
    if scale is None:
        return torch.ones(series.shape[1:], dtype=torch.float64, device=series.device)
    if scale.shape != series.shape[1:]:
        raise InputError(
            f"T1 fit: expected a flip angle scale of {tuple(series.shape[1:])} as the images, got "
            f"{tuple(scale.shape)}; resample it to their grid"
        )
    return scale.to(series.device, torch.float64)


def _require_series(where: str, series: torch.Tensor, axis: torch.Tensor, n_needed: int) -> None:
    n_different = len(torch.unique(axis))
    if axis.ndim != 1 or len(series) != len(axis) or n_different < n_needed:
        raise InputError(
            f"{where}: expected a series (time, z, y, x) and at least {n_needed} different values along its "
            f"first axis, got {tuple(series.shape)} and {n_different} of {tuple(axis.shape)}; give one for "
            "each image"
        )
    if not bool(torch.isfinite(series).all()):
        raise InputError(f"{where}: expected a finite series, got NaN or Inf; leave those images out")
