"""Readouts that are one readout turned by many angles, summed onto few regular angles."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from recon_core.errors import InputError

OVERSAMPLING = 1.5
"""Regular angles over those that the band limit asks for."""
WIDTH = 24
"""Regular angles that a readout is shared among; with the oversampling above, errors stay below 2e-5."""
TOLERANCE = 1e-4
"""Cycles per field of view by which a readout may miss the turned first one."""


class RotatedReadouts:
    """Sums over n readouts, as sums over far fewer at regular angles that have the same Fourier transform.

    As a function of the angle θ of a readout, e^(2πi k(θ)·r) is periodic and has no harmonics above
    2π·max|k|·max|r|. It is therefore a combination of its values at regular angles θ_j, by a sinc windowed by
    a Kaiser-Bessel function: Σ_r d_r e^(2πi k(θ_r)·r) = Σ_j (Σ_r h(θ_r − θ_j) d_r) e^(2πi k(θ_j)·r). What is
    in brackets is a small product of matrices for each j, and the sums over regular angles are one short
    adjoint NUFFT, however many readouts there were.

    A readout that is symmetric about the centre of k-space needs angles on half a circle only; one without
    a partner at its first sample, as even lengths have, is given an empty sample at its end.

    Args:
        readout: (sample, 2 or 3) of the first readout, (kx, ky[, kz]) in cycles per field of view. kz is
            ignored.
    """

    def __init__(self, readout: torch.Tensor) -> None:
        self.readout = torch.complex(readout[:, 0].double(), readout[:, 1].double())
        self.n_samples = len(readout)
        positions = self.readout
        if not _is_symmetric(positions):
            positions = torch.cat([positions, -positions[:1]])
        self.is_symmetric = _is_symmetric(positions)
        if not self.is_symmetric:
            positions = self.readout
        self.period_rad = math.pi if self.is_symmetric else 2 * math.pi
        # Within half a field of view along both axes, |r| is at most √½; Bessel functions of high order
        # fall off within a few cube roots of their argument.
        band = 2 * math.pi * float(positions.abs().max()) * math.sqrt(0.5)
        n_on_circle = 2 * OVERSAMPLING * (band + 4 * band ** (1 / 3) + 4)
        self.n_angles = math.ceil(n_on_circle * self.period_rad / (2 * math.pi))
        self.n_angles = max(self.n_angles, WIDTH)
        angles_rad = torch.arange(self.n_angles, dtype=torch.float64) * (self.period_rad / self.n_angles)
        turned = (
            torch.polar(torch.ones_like(angles_rad), angles_rad)[:, None].to(positions.device) * positions
        )
        self.trajectory = torch.stack([turned.real, turned.imag], -1)
        """(angle, sample, 2) of the regular angles."""

    def scaled(self, factor: float) -> RotatedReadouts:
        """The same readouts with positions `factor` times as far from the centre."""
        return RotatedReadouts(factor * torch.view_as_real(self.readout))

    def angles_rad(self, trajectory: torch.Tensor) -> torch.Tensor:
        """(readout,) of readouts (readout, sample, 2 or 3), float64.

        Raises InputError where one is not the first readout turned; `are_rotated` asks.
        """
        points = torch.complex(trajectory[..., 0].double(), trajectory[..., 1].double())
        if points.shape[-1] != self.n_samples:
            raise InputError(
                f"rotated readouts: expected {self.n_samples} samples a readout, got {points.shape[-1]}; "
                "give the readouts of one scan"
            )
        phasor = (points * self.readout.conj()).sum(-1)
        phasor = phasor / phasor.abs().clamp_min(torch.finfo(torch.float64).tiny)
        distance = float((points - phasor[:, None] * self.readout).abs().max()) if len(points) else 0.0
        if not distance <= TOLERANCE:
            raise InputError(
                f"rotated readouts: expected each to be the first one turned, got one {distance:.2g} cycles "
                "per field of view off; transform these readouts one by one"
            )
        return phasor.angle()

    def are_rotated(self, trajectory: torch.Tensor) -> bool:
        """Whether all these readouts are the first one turned."""
        try:
            self.angles_rad(trajectory)
        except InputError:
            return False
        return True

    def zeros(self, n_rows: int, like: torch.Tensor) -> torch.Tensor:
        """(angle, row, *item, sample) to add readouts as `like`, (readout, *item, sample), to."""
        return like.new_zeros(self.n_angles, n_rows, *self._padded(like[:0]).shape[1:])

    def add(
        self, sums: torch.Tensor, readouts: torch.Tensor, rows: torch.Tensor, angles_rad: torch.Tensor
    ) -> None:
        """Add Σ_r h(θ_r − θ_j)·rows[:, r]·readouts[r] to `sums`, in place.

        Args:
            sums: as from `zeros`.
            readouts: (readout, *item, sample), or (readout, *item, 2): what to multiply something that is
                the same for all readouts with, as it is and reversed.
            rows: (row, readout) factors, real, or complex as the readouts are.
            angles_rad: (readout,).
        """
        spacing = self.period_rad / self.n_angles
        turns = torch.floor(angles_rad / self.period_rad)
        within = angles_rad - turns * self.period_rad
        order = torch.argsort(within)
        readouts = self._turned(self._padded(readouts[order]), turns[order])
        within, rows = within[order], rows[:, order]
        # Around the ends: a copy of the readouts there, one period further.
        margin = WIDTH / 2 * spacing
        head, tail = within < margin, within >= self.period_rad - margin
        ones = torch.ones_like(within)
        readouts = torch.cat(
            [self._turned(readouts[tail], ones[tail]), readouts, self._turned(readouts[head], ones[head])]
        ).flatten(1)
        rows = torch.cat([rows[:, tail], rows, rows[:, head]], 1)
        within = torch.cat([within[tail] - self.period_rad, within, within[head] + self.period_rad])
        centres = torch.arange(self.n_angles, dtype=torch.float64, device=within.device) * spacing
        begins = torch.searchsorted(within, centres - margin).tolist()
        ends = torch.searchsorted(within, centres + margin, right=True).tolist()
        is_mixed = readouts.is_complex() and not rows.is_complex()
        items = torch.view_as_real(readouts).flatten(1) if is_mixed else readouts
        target = torch.view_as_real(sums) if is_mixed else sums
        for j, (begin, end) in enumerate(zip(begins, ends, strict=True)):
            if begin < end:
                shares = _interpolation((within[begin:end] - centres[j]) / spacing).to(rows.dtype)
                target[j].view(len(rows), -1).addmm_(rows[:, begin:end] * shares, items[begin:end])

    def _turned(self, readouts: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
        """Readouts as they lie after that many periods: on half a circle, reversed after odd ones."""
        if not self.is_symmetric:
            return readouts
        is_odd = (turns.remainder(2) == 1).reshape(-1, *[1] * (readouts.ndim - 1))
        return torch.where(is_odd, readouts.flip(-1), readouts)

    def _padded(self, readouts: torch.Tensor) -> torch.Tensor:
        """With the empty sample, where the last axis is that of the samples."""
        n_missing = self.trajectory.shape[1] - self.n_samples
        if readouts.shape[-1] != self.n_samples or not n_missing:
            return readouts
        return torch.nn.functional.pad(readouts, (0, n_missing))


def rotated_readouts(
    trajectory: torch.Tensor, shape: Sequence[int], n_readouts: int | None = None
) -> RotatedReadouts | None:
    """How to sum these readouts (readout, sample, 2 or 3), the first of `n_readouts`, at regular angles.

    None where they are not turned copies of one another, images are volumes, or it would not be shorter.
    """
    if shape[-3] != 1 or min(shape[-2:]) == 1 or len(trajectory) == 0:
        return None
    rotated = RotatedReadouts(trajectory[0])
    is_shorter = rotated.n_angles < (n_readouts or len(trajectory))
    return rotated if is_shorter and rotated.are_rotated(trajectory) else None


def _is_symmetric(positions: torch.Tensor) -> bool:
    return bool((positions + positions.flip(0)).abs().max() <= TOLERANCE)


def _interpolation(steps: torch.Tensor) -> torch.Tensor:
    """The sinc of a number of regular angles, within a Kaiser-Bessel window of `WIDTH` of them."""
    beta = math.pi * WIDTH / 2 * (1 - 1 / OVERSAMPLING)
    inside = (1 - (steps / (WIDTH / 2)).square()).clamp_min(0).sqrt()
    window: torch.Tensor = torch.special.i0(beta * inside) / torch.special.i0(steps.new_tensor(beta))
    return torch.sinc(steps) * window
