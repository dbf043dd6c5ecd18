"""Breath and heartbeat from navigators: what moves in their band of frequencies and hardly elsewhere."""

import math
from dataclasses import dataclass

import torch

from recon_core.dynamic.temporal_basis import at_times, temporal_basis
from recon_core.errors import InputError

RESPIRATORY_HZ = (0.1, 0.5)
CARDIAC_HZ = (0.65, 2.5)
"""With the second harmonic of a slow heart; breath has its third below."""
SLOWEST_HZ, FASTEST_HZ = 0.05, 4.0
STEP_S = 0.02
N_COMPONENTS = 16
MIN_BAND_SHARE = 0.85
"""Of a component with a heartbeat or a breath in it. Simulated scans of 50 s reach 0.88 to 0.97 with a heart
that beats, and at most 0.65 without; of 20 s, 0.84 to 0.98 and 0.77."""


@dataclass(frozen=True)
class MotionSignal:
    """A component of the navigators, on a regular grid of times."""

    times_s: torch.Tensor
    """(time,), float64."""
    values: torch.Tensor
    """(time,), of unit standard deviation; the sign is arbitrary."""
    band_share: torch.Tensor
    """Scalar: of the component's power up to 4 Hz, that within the band."""


def motion_signal(
    navigators: torch.Tensor,
    times_s: torch.Tensor,
    band_hz: tuple[float, float],
    *,
    inversion_index: torch.Tensor | None = None,
) -> MotionSignal:
    """The combination of navigator samples that has the largest share of its power in a band.

    The principal components of the navigators, less the mean of all navigators with the same inversion time,
    are resampled to a regular grid; a generalised eigenvalue problem finds the weights wᵀC_band w / wᵀC w
    (Nikulin et al. 2011, doi:10.1016/j.neuroimage.2011.01.057). Self-gating: Larson et al. 2004,
    doi:10.1002/mrm.10664; by principal components Stehning et al. 2005, doi:10.1002/mrm.20549.

    Args:
        navigators: (time, coil, sample): repeated readouts, or the samples about the centre of all readouts.
        times_s: (time,), ascending.
        band_hz: from and to, as `RESPIRATORY_HZ` or `CARDIAC_HZ`.
        inversion_index: (time,), which inversion time each navigator has; None where contrast is steady.

    Raises:
        InputError: navigators missing, too few of them for the band, or no motion in the band.
    """
    duration_s = float(times_s[-1] - times_s[0]) if len(times_s) > 1 else 0.0
    if len(navigators) != len(times_s) or duration_s * band_hz[0] < 1:
        raise InputError(
            f"self-gating: expected navigators with their times over at least {1 / band_hz[0]:.0f} s, a "
            f"period of {band_hz[0]} Hz, got {len(navigators)} and {len(times_s)} times over "
            f"{duration_s:.1f} s; scan longer, or use a waveform"
        )
    interval_s = duration_s / (len(times_s) - 1)
    if interval_s > 1 / (4 * band_hz[1]):
        raise InputError(
            f"self-gating: expected a navigator at least every {1e3 / (4 * band_hz[1]):.0f} ms, got one "
            f"every {1e3 * interval_s:.0f} ms; acquire them more often"
        )
    components = _components(navigators, inversion_index)
    grid = torch.arange(float(times_s[0]), float(times_s[-1]), STEP_S, dtype=torch.float64)
    slow = _band_pass(at_times(components, times_s, grid.to(times_s.device)), (SLOWEST_HZ, FASTEST_HZ))
    if not bool(slow.any()):
        raise InputError(
            "self-gating: expected navigators that change at the same inversion time, got a single recovery, "
            "or no change; scan longer, or use a waveform"
        )
    share, signal = _largest_share(slow, band_hz)
    if float(share) < MIN_BAND_SHARE:
        raise InputError(
            f"self-gating: expected motion between {band_hz[0]} and {band_hz[1]} Hz, got navigators of which "
            f"no component has more than {100 * float(share):.0f} % of its power there; use a waveform, or "
            "reconstruct without this motion"
        )
    values = _band_pass(signal[None], band_hz)[0]
    return MotionSignal(grid, values / values.std(), share)


def heartbeats(signal: MotionSignal) -> torch.Tensor:
    """(beat,) times in seconds of a cardiac signal's peaks: once a cycle, at some constant phase of it.

    The peaks of the signal near those, 0.4 s apart, of its fundamental alone, since a second harmonic brings
    another; of peaks and troughs the ones that come more regularly.
    """
    fundamental_hz = _fundamental(signal.values)
    once_a_beat = _band_pass(signal.values, (fundamental_hz / 1.5, fundamental_hz * 1.5))
    once_a_beat = once_a_beat / once_a_beat.std()
    reach = round(0.15 / fundamental_hz / STEP_S)

    def beats(sign: int) -> torch.Tensor:
        peaks = _peaks(sign * once_a_beat, round(0.4 / STEP_S), height=0.3)
        near = (peaks[:, None] + torch.arange(-reach, reach + 1)).clamp(0, len(once_a_beat) - 1)
        best = (sign * signal.values)[near].argmax(1, keepdim=True)
        return signal.times_s[near.gather(1, best)[:, 0]]

    return min((beats(1), beats(-1)), key=_irregularity)


def r_waves(ecg: torch.Tensor, interval_s: float) -> torch.Tensor:
    """(beat,) times in seconds of the R waves of an electrocardiogram (channel, sample).

    After Pan & Tompkins 1985, doi:10.1109/TBME.1985.325532: the squared slope of all channels, averaged over
    100 ms, where it exceeds a third of its usual maximum; within that, the steepest sample.

    Raises InputError where there are no R waves, or fewer than two.
    """
    slope = ecg.double().diff(dim=-1).square().sum(0)
    width = 2 * round(0.05 / interval_s) + 1
    total = torch.nn.functional.pad(slope, (width // 2 + 1, width // 2)).cumsum(0)
    smooth = (total[width:] - total[:-width]) / width
    usual = float(smooth.quantile(0.98)) if len(smooth) else 0.0
    peaks = _peaks(smooth, max(1, round(0.3 / interval_s)), height=usual / 3)
    reach = width // 2 + 1
    steepest = [
        max(peak - reach, 0) + int(slope[max(peak - reach, 0) : peak + reach + 1].argmax())
        for peak in peaks.tolist()
    ]
    if len(steepest) < 2 or not bool(torch.isfinite(ecg).all()):
        raise InputError(
            f"r_waves: expected an electrocardiogram with R waves, got {tuple(ecg.shape)} with "
            f"{len(steepest)}; gate by navigators"
        )
    return interval_s * (torch.tensor(steepest, dtype=torch.float64) + 0.5)


def _components(navigators: torch.Tensor, inversion_index: torch.Tensor | None) -> torch.Tensor:
    """(component, time), without what all navigators of an inversion time share."""
    courses = navigators.flatten(1).mT
    n_components = min(N_COMPONENTS, *courses.shape)
    basis = temporal_basis(courses, energy=1 - 1e-9)
    rows = (basis.rows * basis.singular_values[: basis.rank, None])[:n_components].double()
    index = torch.zeros_like(rows[0], dtype=torch.long) if inversion_index is None else inversion_index
    n_indices = int(index.max()) + 1
    sums = rows.new_zeros(len(rows), n_indices).index_add_(1, index, rows)
    counts = torch.bincount(index, minlength=n_indices).clamp_min(1)
    return rows - (sums / counts)[:, index]


def _band_pass(signals: torch.Tensor, band_hz: tuple[float, float]) -> torch.Tensor:
    n = signals.shape[-1]
    frequency_hz = torch.fft.rfftfreq(n, STEP_S, device=signals.device)
    within = (frequency_hz >= band_hz[0]) & (frequency_hz <= band_hz[1])
    passed: torch.Tensor = torch.fft.irfft(torch.fft.rfft(signals) * within, n=n)
    return passed


def _fundamental(values: torch.Tensor) -> float:
    """In Hz: the strongest frequency, or half of it where that is in the band and not much weaker."""
    n = 8 * len(values)
    window = torch.hann_window(len(values), dtype=values.dtype, device=values.device)
    power = torch.fft.rfft(values * window, n=n).abs().square()
    step_hz = 1 / (n * STEP_S)
    strongest = int(power.argmax())
    half = slice(round(0.45 * strongest), round(0.55 * strongest) + 1)
    weaker = round(0.45 * strongest) + int(power[half].argmax())
    is_fundamental = weaker * step_hz >= CARDIAC_HZ[0] and power[weaker] > 0.1 * power[strongest]
    return step_hz * (weaker if is_fundamental else strongest)


def _largest_share(
    components: torch.Tensor, band_hz: tuple[float, float]
) -> tuple[torch.Tensor, torch.Tensor]:
    """The largest of wᵀC_band w / wᵀC w, and its component (time,)."""
    within = _band_pass(components, band_hz)
    whole, band = components @ components.mT, within @ within.mT
    ridge = 1e-6 * whole.trace() / len(whole) * torch.eye(len(whole), dtype=whole.dtype, device=whole.device)
    factor = torch.linalg.cholesky(whole + ridge)
    half = torch.linalg.solve_triangular(factor, band, upper=False)
    whitened = torch.linalg.solve_triangular(factor, half.mT, upper=False)
    shares, vectors = torch.linalg.eigh((whitened + whitened.mT) / 2)
    weights = torch.linalg.solve_triangular(factor.mT, vectors[:, -1:], upper=True)
    return shares[-1], (weights.mT @ components)[0]


def _peaks(values: torch.Tensor, distance: int, height: float) -> torch.Tensor:
    """(peak,) indices, ascending, of local maxima above a height: each the highest within a distance."""
    is_peak = (values[1:-1] > values[:-2]) & (values[1:-1] >= values[2:]) & (values[1:-1] > height)
    candidates = 1 + torch.nonzero(is_peak)[:, 0]
    kept: list[int] = []
    for index in candidates[values[candidates].argsort(descending=True)].tolist():
        if all(abs(index - other) >= distance for other in kept):
            kept.append(index)
    return torch.tensor(sorted(kept), dtype=torch.long)


def _irregularity(beats_s: torch.Tensor) -> float:
    intervals = beats_s.diff()
    return float(intervals.std() / intervals.mean()) if len(intervals) > 2 else math.inf
