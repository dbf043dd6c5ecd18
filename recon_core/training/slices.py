"""What is learnt from: single slices, each saying whose it is and what it shows."""

from dataclasses import dataclass
from typing import Literal

import torch

Kind = Literal["natural", "magnitude", "complex", "kspace", "feature_maps"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Slice:
    """One slice, fully known."""

    data: torch.Tensor
    """`(y, x)` magnitude (natural images too) or complex image; `(coil, ky, kx)` for full k-space;
    `(2, L, y, x)` for feature maps: backprojected, and as they should be."""
    kind: Kind
    subject: str
    """Slices of one subject never stand on both sides of a split."""
    position: int = 0
    """Place within the subject: neighbours resemble each other."""
    anatomy: str = ""
    contrast: str = ""
    source: str = ""
    """Name of the source, as the recipe has it."""
