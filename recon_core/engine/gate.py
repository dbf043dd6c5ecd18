"""The gate: whether slices are like those that a network was trained on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from recon_core.engine.manifest import Interval, Ranges
from recon_core.nets.undersampled import Undersampled


@dataclass(frozen=True)
class Measured:
    """What the gate knows of some slices of one shape; intervals from the smallest to the largest of them."""

    acceleration: Interval
    """Grid points over samples, calibration included."""
    matrix: tuple[int, int]
    n_coils: tuple[int, int]
    noise_level: Interval | None
    """Standard deviation of the noise of a k-space sample after normalisation; None when unknown."""
    intensity: Interval
    """Largest magnitude of the zero-filled image after normalisation; 0 without any signal."""
    samples_lines: bool
    """Whole readouts, in every slice."""

    @classmethod
    def of(cls, normalised: Undersampled) -> Measured:
        """Of `Undersampled.normalised()` slices; values that are not finite give such intervals."""
        sampled = normalised.sampled
        n_coils, *matrix = normalised.kspace.shape[1:]
        noise_std = normalised.noise_std
        return cls(
            acceleration=_interval(sampled[0].numel() / sampled.sum((1, 2)).clamp(min=1)),
            matrix=(min(matrix), max(matrix)),
            n_coils=(n_coils, n_coils),
            noise_level=None if noise_std is None else _interval(noise_std),
            intensity=_interval(normalised.zero_filled().abs().amax((1, 2))),
            samples_lines=bool((sampled == sampled[..., :1]).all()),
        )


def covering(
    measured: Iterable[Measured],
    *,
    anatomies: tuple[str, ...],
    contrasts: tuple[str, ...],
    masks: tuple[str, ...],
) -> Ranges:
    """The ranges that just hold all that was measured, as for the slices a network was trained on."""
    every = list(measured)
    noise_levels = [m.noise_level for m in every if m.noise_level is not None] or [(0.0, 0.0)]
    return Ranges(
        anatomies=anatomies,
        contrasts=contrasts,
        masks=masks,
        acceleration=_hull(m.acceleration for m in every),
        matrix=(min(m.matrix[0] for m in every), max(m.matrix[1] for m in every)),
        n_coils=(min(m.n_coils[0] for m in every), max(m.n_coils[1] for m in every)),
        noise_level=_hull(noise_levels),
        intensity=_hull(m.intensity for m in every),
    )


def outside(
    ranges: Ranges, measured: Measured, anatomy: str | None = None, contrast: str | None = None
) -> list[str]:
    """Every way in which the slices lie outside the ranges, in words; none when the network applies.

    What is not known (None) cannot be outside: `unknown` lists it.
    """
    reasons = []
    names = (("anatomy", anatomy, ranges.anatomies), ("contrast", contrast, ranges.contrasts))
    for what, name, trained_on in names:
        if name is not None and name.casefold() not in map(str.casefold, trained_on):
            reasons.append(f"{what} '{name}' is none of {', '.join(trained_on)}")
    if measured.samples_lines not in {name.endswith("_lines") for name in ranges.masks}:
        sampling = "whole readouts" if measured.samples_lines else "points"
        reasons.append(f"sampling of {sampling} is none of {', '.join(ranges.masks)}")
    numbers = (
        ("acceleration", measured.acceleration, ranges.acceleration),
        ("matrix size", measured.matrix, ranges.matrix),
        ("number of coils", measured.n_coils, ranges.n_coils),
        ("noise level", measured.noise_level, ranges.noise_level),
        ("intensity", measured.intensity, ranges.intensity),
    )
    for what, found, (low, high) in numbers:
        for value in dict.fromkeys(found or ()):
            if not low <= value <= high:
                reasons.append(f"{what} {value:.4g} is outside {low:.4g} to {high:.4g}")
    return reasons


def unknown(measured: Measured, anatomy: str | None = None, contrast: str | None = None) -> tuple[str, ...]:
    """What `outside` could not check."""
    known = {"anatomy": anatomy, "contrast": contrast, "noise level": measured.noise_level}
    return tuple(what for what, value in known.items() if value is None)


def _interval(values: torch.Tensor) -> Interval:
    low, high = values.aminmax()
    return float(low), float(high)


def _hull(intervals: Iterable[Interval]) -> Interval:
    lows, highs = zip(*intervals, strict=True)
    return min(lows), max(highs)
