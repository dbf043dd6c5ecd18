"""Convolutions in bands of rows: the same image from less memory at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

CONTAINERS = (torch.nn.ModuleList, torch.nn.ModuleDict)
TOLERANCE = 1e-5
"""Bands and whole agree to this share of the largest value; single precision rounds to a tenth of it."""


@dataclass
class Bands:
    """How `in_row_bands` fares."""

    n_rows: int
    n_modules: int = 0
    """Calls of modules that went in bands."""
    is_inside: bool = False


@contextmanager
def in_row_bands(network: torch.nn.Module, n_rows: int) -> Iterator[Bands]:
    """While open, the convolutional parts of `network` work on `n_rows` rows of an image after another.

    A band is given the rows around it that its values depend on: h on each side, the sum of dilation·⌊k/2⌋
    over the convolutions in the part, at most. At the image's edge it ends there, so that each layer pads
    it with the zeros it always has. That is exact for what is local, and not for a part that strides, pools
    or normalises over the image; data consistency is neither local nor a convolution. So each part shows
    first, on a small random input, that bands make no difference to it. Of parts within parts, the
    outermost that passes goes in bands; where none does, all is as ever and `n_modules` stays 0.
    """
    bands = Bands(n_rows)
    parts = [(m, h) for m in network.modules() if not isinstance(m, CONTAINERS) and (h := _halo(m)) > 0]
    parts = [(module, halo) for module, halo in parts if not isinstance(module, torch.nn.Conv2d)]
    for module, halo in parts:
        module.forward = _banded(module.forward, halo, bands)
    try:
        yield bands
    finally:
        for module, _ in parts:
            del module.forward


def _halo(module: torch.nn.Module) -> int:
    convolutions = [m for m in module.modules() if isinstance(m, torch.nn.Conv2d)]
    return sum(int(c.dilation[0]) * (c.kernel_size[0] // 2) for c in convolutions)


def _banded(forward: Callable[..., Any], halo: int, bands: Bands) -> Callable[..., Any]:
    makes_no_difference: bool | None = None

    def banded(x: Any, *rest: Any) -> Any:
        nonlocal makes_no_difference
        is_features = isinstance(x, torch.Tensor) and x.ndim == 4 and not x.is_complex()
        if bands.is_inside or not is_features or x.shape[-2] <= bands.n_rows:
            return forward(x, *rest)
        bands.is_inside = True
        try:
            if makes_no_difference is None:
                makes_no_difference = _agree(forward, halo, x, rest)
            if makes_no_difference:
                bands.n_modules += 1
                return _by_bands(forward, halo, bands.n_rows, x, rest)
        finally:
            bands.is_inside = False
        return forward(x, *rest)

    return banded


def _by_bands(
    forward: Callable[..., Any], halo: int, n_rows: int, x: torch.Tensor, rest: tuple[Any, ...]
) -> torch.Tensor:
    results = []
    for first in range(0, x.shape[-2], n_rows):
        start = max(first - halo, 0)
        result = forward(x[..., start : first + n_rows + halo, :], *rest)
        results.append(result[..., first - start : first - start + n_rows, :])
    return torch.cat(results, dim=-2)


def _agree(forward: Callable[..., Any], halo: int, x: torch.Tensor, rest: tuple[Any, ...]) -> bool:
    # Three bands: one with an edge above, one within, one with an edge below, of odd and unequal sizes.
    n_rows = 2 * halo + 1
    generator = torch.Generator(x.device).manual_seed(0)
    size = (1, x.shape[1], 2 * n_rows + halo, n_rows)
    trial = torch.randn(size, generator=generator, device=x.device, dtype=x.dtype)
    try:
        whole = forward(trial, *rest)
    except RuntimeError:  # some take even sizes only
        return False
    if not isinstance(whole, torch.Tensor) or whole.shape[-2:] != trial.shape[-2:]:
        return False
    difference = (_by_bands(forward, halo, n_rows, trial, rest) - whole).abs().max()
    return bool(difference <= TOLERANCE * whole.abs().max())
