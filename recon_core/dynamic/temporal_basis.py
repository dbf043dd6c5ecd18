"""Temporal bases: what the time courses of a scan are combinations of."""

import math
from dataclasses import dataclass

import torch

from recon_core.errors import InputError

NOISE_MARGIN = 1.05
"""Singular values of noise alone end at the edge below but for fluctuations of a few percent."""


@dataclass(frozen=True)
class TemporalBasis:
    """Φ with orthonormal rows, the strongest first."""

    rows: torch.Tensor
    """(L, time), real or complex."""
    singular_values: torch.Tensor
    """All that there are, descending."""

    @property
    def rank(self) -> int:
        """L."""
        return len(self.rows)

    @property
    def energy(self) -> float:
        """The share of the squared singular values that the basis has."""
        power = self.singular_values.double().square()
        return float(power[: self.rank].sum() / power.sum())


def temporal_basis(
    signals: torch.Tensor,
    *,
    rank: int | None = None,
    energy: float = 0.999,
    is_real: bool = True,
    noise_std: float = 0.0,
) -> TemporalBasis:
    """The dominant right singular vectors of time courses: navigators, or a dictionary of simulated signals.

    Liang 2007 (ISBI, p. 988), doi:10.1109/ISBI.2007.357020. A real basis, from real and imaginary parts as
    separate time courses, holds every signal whose phase does not change in time, at half the memory and time
    of a complex one. Singular values that noise could have made do not count towards the rank (Marchenko &
    Pastur 1967, doi:10.1070/SM1967v001n04ABEH001994).

    Args:
        signals: (*signal, time), of navigators for instance (coil, sample, time).
        rank: L; None for as few as have `energy`.
        energy: share of the sum of squares to keep.
        is_real: whether Φ is real.
        noise_std: of a complex sample (one after `NoiseAdjust`); 0 if not known.

    Raises:
        InputError: no signal, values that are not finite, or a rank above that of the signals.
    """
    courses = signals.flatten(0, -2) if signals.ndim > 1 else signals[None]
    if courses.numel() == 0 or not bool(torch.isfinite(courses).all()) or not bool(courses.any()):
        raise InputError(
            f"temporal basis: expected finite time courses (signal, time) that are not all zero, got "
            f"{tuple(signals.shape)}; leave out readouts without signal"
        )
    if is_real and courses.is_complex():
        courses, noise_std = torch.cat([courses.real, courses.imag]), noise_std / math.sqrt(2)
    singular_values, rows = _right_singular(courses)
    n_courses, n_times = courses.shape
    floor = max(
        NOISE_MARGIN * noise_std * (math.sqrt(n_courses) + math.sqrt(n_times)),
        float(singular_values[0]) * max(n_courses, n_times) * torch.finfo(singular_values.dtype).eps,
    )
    n_above = int((singular_values > floor).sum())
    if n_above == 0:
        raise InputError(
            f"temporal basis: expected signal above the noise of {noise_std:.3g}, got singular values of at "
            f"most {float(singular_values[0]):.3g}; look whether the navigators were measured"
        )
    if rank is not None and not 1 <= rank <= n_above:
        raise InputError(
            f"temporal basis: expected a rank from 1 to {n_above}, that of the signals above their noise, "
            f"got {rank}; ask for fewer, or for a share of the energy"
        )
    kept = rank or min(_rank_of_energy(singular_values, energy), n_above)
    return TemporalBasis(rows[:kept], singular_values)


def joint_basis(*bases: torch.Tensor, rank: int | None = None, energy: float = 0.999) -> TemporalBasis:
    """One basis for what several (L, time) span together, as of contrast and of motion.

    Each counts as its rows do, so that scale rows by what they are worth. Arguments as for `temporal_basis`.
    """
    n_times = {basis.shape[-1] for basis in bases}
    if len(n_times) != 1:
        raise InputError(
            f"joint basis: expected bases of the same times, got {sorted(n_times)}; take them at the same "
            "readouts"
        )
    is_real = not any(basis.is_complex() for basis in bases)
    return temporal_basis(torch.cat(bases), rank=rank, energy=energy, is_real=is_real)


def at_times(rows: torch.Tensor, known_at: torch.Tensor, wanted_at: torch.Tensor) -> torch.Tensor:
    """A basis (L, time) known at ascending times, interpolated linearly to others; held beyond the ends.

    For readouts between navigators. Where navigators are missing, this fills in.
    """
    if rows.shape[-1] != len(known_at) or not len(known_at):
        raise InputError(
            f"temporal basis: expected a time for each of {rows.shape[-1]} columns, got {len(known_at)}; "
            "give those of the navigators"
        )
    known, wanted = known_at.double().contiguous(), wanted_at.double().contiguous()
    after = torch.searchsorted(known, wanted).clamp(1, max(len(known) - 1, 1)).clamp_max(len(known) - 1)
    before = (after - 1).clamp_min(0)
    span = known[after] - known[before]
    share = torch.where(span > 0, (wanted - known[before]) / span, 0).clamp(0, 1).to(rows.real.dtype)
    return rows[:, before] * (1 - share) + rows[:, after] * share


def _right_singular(courses: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Singular values, descending, and the right vectors as rows: from the smaller side's Gram matrix.

    In double precision, in which squares of singular values keep those of single-precision data.
    """
    exact = courses.to(torch.promote_types(courses.dtype, torch.float64))
    is_wide = exact.shape[1] > exact.shape[0]
    power, vectors = torch.linalg.eigh(exact @ exact.mH if is_wide else exact.mH @ exact)
    singular_values = power.clamp_min(0).sqrt().flip(0)
    vectors = vectors.flip(1)
    if is_wide:
        smallest = torch.finfo(singular_values.dtype).tiny
        rows = (vectors.mH @ exact) / singular_values.clamp_min(smallest)[:, None]
    else:
        rows = vectors.mH
    return singular_values.to(courses.real.dtype), rows.to(courses.dtype)


def _rank_of_energy(singular_values: torch.Tensor, energy: float) -> int:
    if not 0 < energy <= 1:
        raise InputError(f"temporal basis: expected a share of the energy in (0, 1], got {energy}")
    power = singular_values.double().square().cumsum(0)
    return 1 + int((power < energy * power[-1] * (1 - 1e-12)).sum())
