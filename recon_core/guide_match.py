"""Whether an image of another contrast may guide a reconstruction; and that image on the target's grid."""

from dataclasses import dataclass

import torch

from recon_core.image_geometry import ImageGeometry
from recon_core.resample import resample
from recon_core.rigid_registration import (
    ANGLES_DEG,
    SHIFTS_MM,
    Alignment,
    register_in_plane,
    search_grid,
)

MIN_OVERLAP = 0.8
"""Share of the target's energy that the guide must cover."""
MAX_FOV_MM = 1000.0
"""Of a target, in plane: larger ones are a header's mistake, and no memory for them."""
MIN_SIMILARITY = 0.1
"""Of the edges of guide and target."""


@dataclass(frozen=True, slots=True)
class GuideMatch:
    """What came of holding a guide against a target."""

    reason: str
    """Why the guide is refused, in words; empty when it is accepted."""
    alignment: Alignment | None = None
    """How the guide was moved; None when it was never compared."""
    guide: torch.Tensor | None = None
    """`(*batch, z, y, x)` on the target's grid, zero where not covered; None when refused."""
    covered: torch.Tensor | None = None
    """`(z, y, x)` boolean, where the guide has data."""


def match_guide(
    guide: torch.Tensor, guide_geometry: ImageGeometry, target: torch.Tensor, target_geometry: ImageGeometry
) -> GuideMatch:
    """A guide on the target's grid, moved to where its edges agree with the target's; or why it is refused.

    The guide is placed by its geometry, then registered in plane (`register_in_plane`) against a preview of
    the target, and resampled once from its own grid (`resample`).

    Args:
        guide: `(z, y, x)`, complex or real.
        guide_geometry: where it lies.
        target: `(z, y, x)`, complex or real: a first look at what is reconstructed; zero-filled will do.
        target_geometry: where that lies.
    """
    widest_mm = max(target_geometry.fov_mm[:2])
    if widest_mm > MAX_FOV_MM:
        return GuideMatch(reason=f"the target's field of view cannot be {widest_mm:g} mm")
    grid = search_grid(target_geometry)
    moving, moving_known = resample(_magnitude(guide), guide_geometry, grid)
    fixed, fixed_known = resample(_magnitude(target), target_geometry, grid)
    energy = fixed.square()
    overlap = float((energy * moving_known).sum() / energy.sum().clamp(min=torch.finfo(torch.float32).tiny))
    if not overlap >= MIN_OVERLAP:  # nor where it is NaN
        return GuideMatch(reason=f"it covers {overlap:.0%} of the target, less than {MIN_OVERLAP:.0%}")
    alignment = register_in_plane(moving, moving_known, fixed, fixed_known, grid)
    if not alignment.similarity >= MIN_SIMILARITY:
        reason = (
            f"its edges are not the target's (similarity {alignment.similarity:.2f}, "
            f"at least {MIN_SIMILARITY:.2f} wanted)"
        )
        return GuideMatch(reason=reason, alignment=alignment)
    if not alignment.is_inside:
        reason = f"it lies more than {SHIFTS_MM:g} mm or {ANGLES_DEG:g} degrees from the target"
        return GuideMatch(reason=reason, alignment=alignment)
    guide, covered = resample(guide, guide_geometry.moved(alignment.motion), target_geometry)
    return GuideMatch(reason="", alignment=alignment, guide=guide, covered=covered)


def _magnitude(image: torch.Tensor) -> torch.Tensor:
    """At most one, so that no square is too small for its type."""
    magnitude = image.abs().to(torch.float32)
    return magnitude / magnitude.max().clamp(min=torch.finfo(torch.float32).tiny)
