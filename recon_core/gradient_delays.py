"""Gradient delays of radial scans, from where their spokes cross."""

import math
from itertools import product

import torch

from recon_core.errors import CalibrationError, InputError
from recon_core.fourier import fft, ifft, resize

REACH = 2.0
"""Displacements searched, in cycles per field of view, either way."""
FIRST_STEP = 0.5
N_REFINEMENTS = 7
"""Each halves the step, down to 0.004 cycles per field of view."""
N_PAIRS = 300
"""Of spokes, as many as are used."""
MAX_MISMATCH = 0.1
"""Of the best S. Noise alone has 0.94; real spokes of a brain 0.04 as they were meant, 0.004 corrected."""
LEAST_SINE = 0.5
"""Of the angle between two spokes that cross clearly enough."""
N_SAMPLES = 128
"""Central samples of a spoke that are looked at."""
N_AT_ONCE = 27
"""Matrices compared at a time, all that memory is taken for."""
FINER = 16
"""Interpolation of spokes before the last, linear step."""


def gradient_delays(kspace: torch.Tensor, trajectory: torch.Tensor) -> torch.Tensor:
    """The matrix S by which spokes of direction n are displaced, k = t n + S n.

    Delays of the physical gradients shift a spoke along and across itself; S is symmetric for any
    orientation of the plane. Two spokes cross where t_i n_i + S n_i = t_j n_j + S n_j, and there their
    samples y agree, in every coil. This finds the S for which they agree best,

        Σ_ij |y_i(t_i) − y_j(t_j)|² / Σ_ij (|y_i(t_i)|² + |y_j(t_j)|²),

    over pairs of spokes, by a search that narrows. After RING (Rosenzweig et al. 2019,
    doi:10.1002/mrm.27506), which finds each crossing by itself and then fits S. A handful of spokes is
    enough, and none need be opposite to another.

    Args:
        kspace: y, (coil, readout, sample).
        trajectory: (readout, sample, 2), evenly sampled spokes through the centre, as they were meant.

    Returns:
        S, (2, 2) float64, cycles per field of view; to be applied by `displaced`.

    Raises:
        InputError: the trajectory is not of spokes through the centre.
        CalibrationError: no signal, no two spokes that cross, or spokes that nowhere agree.
    """
    spokes = _Spokes(kspace, trajectory)
    pairs = _crossing_pairs(spokes.directions)
    if not len(pairs) or not bool(spokes.samples.any()):
        raise CalibrationError(
            f"gradient delays: expected signal on spokes that cross, got {len(pairs)} pairs of them; "
            "acquire more, or leave their trajectory as it is"
        )
    n, best, step = int(REACH / FIRST_STEP), torch.zeros(3), FIRST_STEP
    for _ in range(N_REFINEMENTS + 1):
        candidates = best + step * torch.tensor(list(product(range(-n, n + 1), repeat=3)))
        mismatches = torch.cat(
            [
                spokes.mismatch(_symmetric(some).to(kspace.device), pairs)
                for some in torch.split(candidates, N_AT_ONCE)
            ]
        )
        n, best, step = 1, candidates[int(mismatches.argmin())], step / 2
    mismatch = float(mismatches.min())
    if mismatch > MAX_MISMATCH:
        raise CalibrationError(
            f"gradient delays: expected spokes that agree where they cross, got a mismatch of "
            f"{mismatch:.2g}; leave their trajectory as it is"
        )
    return _symmetric(best).double()


def displaced(trajectory: torch.Tensor, delays: torch.Tensor) -> torch.Tensor:
    """The trajectory (readout, sample, 2 or 3) of spokes with k + S n in place of k."""
    along = trajectory[:, -1, :2] - trajectory[:, 0, :2]
    directions = along / along.norm(dim=-1, keepdim=True)
    shift = torch.zeros_like(trajectory[:, :1])
    shift[:, 0, :2] = directions @ delays.to(trajectory).T
    return trajectory + shift


def _symmetric(entries: torch.Tensor) -> torch.Tensor:
    """(..., 2, 2) from (..., 3): xx, yy, xy."""
    xx, yy, xy = entries.unbind(-1)
    return torch.stack([torch.stack([xx, xy], dim=-1), torch.stack([xy, yy], dim=-1)], dim=-2)


class _Spokes:
    """Evenly sampled spokes that can be read anywhere."""

    def __init__(self, kspace: torch.Tensor, trajectory: torch.Tensor) -> None:
        trajectory = trajectory.double()
        n_samples = trajectory.shape[1]
        along = trajectory[:, -1] - trajectory[:, 0]
        length = along.norm(dim=-1, keepdim=True)
        self.directions = along / length
        self.spacing = length[:, 0] / (n_samples - 1)
        self.centre = -(trajectory[:, 0] * self.directions).sum(-1) / self.spacing
        steps = torch.arange(n_samples, device=trajectory.device) / (n_samples - 1)
        straight = trajectory[:, :1] + along[:, None] * steps[:, None]
        is_even = bool(((trajectory - straight).norm(dim=-1) < 0.1).all())
        reaches_out = bool(((self.centre > 2) & (self.centre < n_samples - 3)).all())
        if trajectory.shape[-1] != 2 or not is_even or not reaches_out:
            raise InputError(
                "gradient delays: expected evenly sampled spokes (readout, sample, 2) through the centre of "
                f"k-space, got {tuple(trajectory.shape)} that are not; leave their trajectory as it is"
            )
        n_kept = min(N_SAMPLES, n_samples)
        projections = ifft(resize(kspace, (n_kept,)), (-1,))
        self.samples = fft(resize(projections, (FINER * n_kept,)), (-1,))
        self.offset = n_kept // 2 - n_samples // 2

    def mismatch(self, delays: torch.Tensor, pairs: torch.Tensor) -> torch.Tensor:
        """(matrix,): of samples where pairs of spokes would cross, for each of `delays` (matrix, 2, 2)."""
        i, j = pairs.unbind(1)
        n_i, n_j = self.directions[i], self.directions[j]
        apart = (n_j - n_i) @ delays.to(n_i.dtype)
        sine = _cross(n_i, n_j)
        y_i = self._at(i, _cross(apart, n_j) / sine)
        y_j = self._at(j, _cross(apart, n_i) / sine)
        difference, power = (y_i - y_j).abs().square(), y_i.abs().square() + y_j.abs().square()
        return difference.sum((0, 2)) / power.sum((0, 2)).clamp_min(torch.finfo(power.dtype).tiny)

    def _at(self, spoke: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """(coil, matrix, pair): the samples of spokes at positions t (matrix, pair)."""
        position = (self.centre[spoke] + t / self.spacing[spoke] + self.offset) * FINER
        position = position.clamp(0, self.samples.shape[-1] - 2)
        below = position.floor()
        share = (position - below).to(self.samples.real.dtype)
        before = self.samples[:, spoke, below.long()]
        return torch.lerp(before, self.samples[:, spoke, below.long() + 1], share.to(before.dtype))


def _cross(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def _crossing_pairs(directions: torch.Tensor) -> torch.Tensor:
    """(pair, 2): spokes at a clear angle."""
    sine = _cross(directions[:, None], directions[None])
    pairs = torch.nonzero((sine.abs() > LEAST_SINE).triu())
    return pairs[:: max(1, math.ceil(len(pairs) / N_PAIRS))]
