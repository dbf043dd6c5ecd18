"""Batches of slices taken apart and put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from itertools import chain
from typing import Any, TypeVar

import torch

from recon_core.nets.feature_maps import FeatureMaps
from recon_core.nets.undersampled import Undersampled

Slices = Undersampled | FeatureMaps
"""What networks reconstruct from."""
OneKind = TypeVar("OneKind", bound=Slices)


def single_slices(batch: OneKind) -> list[OneKind]:
    """Each slice as a batch of one, without a copy."""
    return [
        replace(batch, **{name: of_all[i : i + 1] for name, of_all in _present(batch).items()})
        for i in range(len(batch))
    ]


def joined(batches: Sequence[OneKind]) -> OneKind:
    """One batch of slices that are alike in `likeness`."""
    if len(batches) == 1:
        return batches[0]
    parts = [_present(batch) for batch in batches]
    return replace(batches[0], **{name: _in_a_row([part[name] for part in parts]) for name in parts[0]})


def likeness(batch: Slices) -> tuple[object, ...]:
    """Equal for batches that can be joined: what is there, and of what shape, type and device."""
    return tuple(
        (name, *((a.shape[1:], a.dtype, a.device) if isinstance(a, torch.Tensor) else ()))
        for name, a in _present(batch).items()
    )


def size_bytes(batch: Slices) -> int:
    """Memory of the arrays that are there."""
    return sum(a.nbytes for a in _present(batch).values() if isinstance(a, torch.Tensor))


def at_intensity(images: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """`(slice, …)` times the `(slice,)` factors that `normalised` took out."""
    return images * scale.reshape(-1, *[1] * (images.ndim - 1))


def _present(batch: Slices) -> dict[str, Any]:
    """What there is of a batch, by name: arrays, or tuples of one thing for each slice."""
    every = {f.name: getattr(batch, f.name) for f in fields(batch)}
    return {name: of_all for name, of_all in every.items() if of_all is not None}


def _in_a_row(parts: Sequence[Any]) -> Any:
    return torch.cat(list(parts)) if torch.is_tensor(parts[0]) else tuple(chain.from_iterable(parts))
