"""The gate: whether slices are like those that a network was trained on."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

import torch

from recon_core.engine.manifest import Interval, Ranges
from recon_core.engine.slices import Slices
from recon_core.nets.feature_maps import FeatureMaps

Number = TypeVar("Number", int, float)


ANY = "any"
"""A name among those of a package that stands for all."""


@dataclass(frozen=True)
class Measured:
    """What the gate knows of some slices of one shape; intervals from the smallest to the largest of them."""

    matrix: tuple[int, int]
    intensity: Interval
    """Largest magnitude of the zero-filled image or feature maps after normalisation; 0 without signal."""
    acceleration: Interval | None = None
    """Grid points over samples, calibration included; None, as below, for feature maps."""
    n_coils: tuple[int, int] | None = None
    noise_level: Interval | None = None
    """Standard deviation of the noise of a k-space sample after normalisation; None when unknown, too."""
    samples_lines: bool | None = None
    """Whole readouts, in every slice."""

    @classmethod
    def of(cls, normalised: Slices) -> Measured:
        """Of `normalised()` slices; values that are not finite give such intervals."""
        matrix = normalised.image_shape[-2:]
        sides = (min(matrix), max(matrix))
        if isinstance(normalised, FeatureMaps):
            return cls(matrix=sides, intensity=_interval(normalised.maps.abs().amax((1, 2, 3))))
        sampled = normalised.sampled
        n_coils = normalised.kspace.shape[1]
        noise_std = normalised.noise_std
        return cls(
            acceleration=_interval(sampled[0].numel() / sampled.sum((1, 2)).clamp(min=1)),
            matrix=sides,
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
    guides: tuple[str, ...] = (),
) -> Ranges:
    """The ranges that just hold all that was measured, as for the slices a network was trained on."""
    every = list(measured)
    return Ranges(
        anatomies=anatomies,
        contrasts=contrasts,
        masks=masks,
        guides=guides,
        acceleration=_hull(m.acceleration for m in every),
        matrix=(min(m.matrix[0] for m in every), max(m.matrix[1] for m in every)),
        n_coils=_hull(m.n_coils for m in every),
        noise_level=_hull(m.noise_level for m in every),
        intensity=_hull(m.intensity for m in every) or (0.0, 0.0),
    )


def outside(
    ranges: Ranges,
    measured: Measured,
    anatomy: str | None = None,
    contrast: str | None = None,
    guide_contrast: str | None = None,
    *,
    has_switch: bool = False,
) -> list[str]:
    """Every way in which the slices lie outside the ranges, in words; none when the network applies.

    What is not known (None) cannot be outside; nor can the anatomy where the network is the same for several,
    without a switch between them. `unchecked` lists both.
    """
    reasons = []
    is_of_anatomies = has_switch or len(ranges.anatomies) == 1
    names = (
        ("anatomy", anatomy if is_of_anatomies else None, ranges.anatomies),
        ("contrast", contrast, ranges.contrasts),
        ("guide of contrast", guide_contrast, ranges.guides),
    )
    for what, name, trained_on in names:
        if name is not None and not _is_among(name, trained_on):
            reasons.append(f"{what} '{name}' is none of {', '.join(trained_on)}")
    of_lines = measured.samples_lines
    if of_lines is not None and of_lines not in {name.endswith("_lines") for name in ranges.masks}:
        sampling = "whole readouts" if of_lines else "points"
        reasons.append(f"sampling of {sampling} is none of {', '.join(ranges.masks)}")
    numbers = (
        ("acceleration", measured.acceleration, ranges.acceleration),
        ("matrix size", measured.matrix, ranges.matrix),
        ("number of coils", measured.n_coils, ranges.n_coils),
        ("noise level", measured.noise_level, ranges.noise_level),
        ("intensity", measured.intensity, ranges.intensity),
    )
    for what, found, trained_on_range in numbers:
        low, high = trained_on_range or (0.0, math.inf)
        for value in dict.fromkeys(found or ()):
            if not low <= value <= high:
                reasons.append(f"{what} {value:.4g} is outside {low:.4g} to {high:.4g}")
    return reasons


def unchecked(
    ranges: Ranges, measured: Measured, anatomy: str | None = None, contrast: str | None = None
) -> tuple[str, ...]:
    """What `outside` could not check or, of an anatomy that the network was not trained on, let pass."""
    known = {"anatomy": anatomy, "contrast": contrast, "noise level": measured.noise_level}
    if measured.acceleration is None:  # of feature maps, which have none
        del known["noise level"]
    is_another = anatomy is not None and not _is_among(anatomy, ranges.anatomies)
    another = [f"anatomy '{anatomy}'"] if is_another else []
    return (*another, *(what for what, value in known.items() if value is None))


def _is_among(name: str, trained_on: tuple[str, ...]) -> bool:
    return not {name.casefold(), ANY}.isdisjoint(map(str.casefold, trained_on))


def _interval(values: torch.Tensor) -> Interval:
    low, high = values.aminmax()
    return float(low), float(high)


def _hull(intervals: Iterable[tuple[Number, Number] | None]) -> tuple[Number, Number] | None:
    """None where none is known."""
    known = [interval for interval in intervals if interval is not None]
    return (min(low for low, _ in known), max(high for _, high in known)) if known else None
