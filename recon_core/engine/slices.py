"""Batches of slices taken apart and put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace

import torch

from recon_core.nets.undersampled import Undersampled


def single_slices(batch: Undersampled) -> list[Undersampled]:
    """Each slice as a batch of one, without a copy."""
    return [
        replace(batch, **{name: array[i : i + 1] for name, array in _present(batch).items()})
        for i in range(len(batch))
    ]


def joined(batches: Sequence[Undersampled]) -> Undersampled:
    """One batch of slices that are alike in `likeness`."""
    if len(batches) == 1:
        return batches[0]
    parts = [_present(batch) for batch in batches]
    return replace(batches[0], **{name: torch.cat([part[name] for part in parts]) for name in parts[0]})


def likeness(batch: Undersampled) -> tuple[object, ...]:
    """Equal for batches that can be joined: what is there, and of what shape, type and device."""
    return tuple((name, a.shape[1:], a.dtype, a.device) for name, a in _present(batch).items())


def size_bytes(batch: Undersampled) -> int:
    """Memory of the arrays that are there."""
    return sum(array.nbytes for array in _present(batch).values())


def _present(batch: Undersampled) -> dict[str, torch.Tensor]:
    arrays = {f.name: getattr(batch, f.name) for f in fields(batch)}
    return {name: array for name, array in arrays.items() if array is not None}
