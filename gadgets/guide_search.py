"""The image of an earlier scan of the study that may guide this one, on its grid; or why there is none."""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean

import torch

from gadgets.gadget import Context
from gadgets.guides import Contrast, Guide, guides
from gadgets.mrd_images import PROVENANCE
from recon_core.guide_match import MIN_SIMILARITY, GuideMatch, match_guide
from recon_core.image_geometry import ImageGeometry, is_same_place, stacked

GUIDE = f"{PROVENANCE}Guide"
"""Meta key of what guided an image, and how it was moved."""
_N_TRIED = 4
"""Contrasts that a target is compared with before it goes without: each takes a fraction of a second."""
_N_REMEMBERED = 4
"""Images by which a guide is judged: enough to tell another head, few enough to forget empty slices."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundGuide:
    """What the study has for one target."""

    image: torch.Tensor | None
    """`(z, y, x)` on the target's grid, zero where the guide has no data; None where nothing may guide it."""
    meta: dict[str, str]
    """For the image that it guides."""
    refused: tuple[str, ...]
    """Of the guides that were tried first, which, and why not."""


@dataclass(frozen=True, slots=True)
class _Stack:
    """The slices of one contrast as one image, on the CPU."""

    name: str
    image: torch.Tensor
    geometry: ImageGeometry
    similarities: deque[float] = field(default_factory=lambda: deque(maxlen=_N_REMEMBERED))
    """To the latest images of the scan."""

    def match(self, preview: torch.Tensor, geometry: ImageGeometry) -> GuideMatch:
        match = match_guide(self.image.to(preview.device), self.geometry, preview, geometry)
        if match.alignment is None or math.isnan(match.alignment.similarity):
            return match
        self.similarities.append(match.alignment.similarity)
        if match.reason or fmean(self.similarities) >= MIN_SIMILARITY:
            return match
        return GuideMatch(reason="its edges are not those of the images before", alignment=match.alignment)


class GuideSearch:
    """For the images of one scan, among those that earlier scans of its study left.

    Whose images these are, `gadgets.guides.guides` has settled by their identifiers: the same patient's, in
    the same frame of reference. Fully sampled scans are tried first, then the newest. An image
    of another head may pass for one target; it does not where it was unlike those just before.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._candidates: list[_Stack | str] | None = None

    def guide_of(self, preview: torch.Tensor, geometry: ImageGeometry) -> FoundGuide:
        """The first guide that shows the anatomy of `preview`, `(z, y, x)`, a first look at the target."""
        if self._candidates is None:
            found = sorted(guides(self._context), key=lambda guide: guide.acceleration > 1)
            self._candidates = list(map(_stack, _by_contrast(found)[:_N_TRIED]))
        refused: list[str] = []
        for stack in self._candidates:
            if isinstance(stack, str):
                refused.append(stack)
                continue
            match = stack.match(preview, geometry)
            if match.guide is not None and match.alignment is not None:
                shift_mm, angle_deg = match.alignment.shift_mm, match.alignment.angle_deg
                how = (
                    f"{stack.name}, moved by {shift_mm[0]:.1f} and {shift_mm[1]:.1f} mm and {angle_deg:.1f} "
                    f"degrees, similarity {match.alignment.similarity:.2f}"
                )
                return FoundGuide(image=match.guide, meta={GUIDE: how}, refused=tuple(refused))
            refused.append(f"{stack.name} is no guide: {match.reason}")
        if not refused:
            refused.append("no earlier image of this study and frame of reference")
        return FoundGuide(image=None, meta={GUIDE: "none"}, refused=tuple(refused))


def _by_contrast(found: Sequence[Guide]) -> list[list[Guide]]:
    """Those of one scan, contrast and orientation together."""
    groups: dict[tuple[object, ...], list[Guide]] = {}
    for guide in found:
        orientation = tuple(round(c, 3) for direction in guide.geometry.directions for c in direction)
        groups.setdefault((guide.scan, guide.contrast, orientation, guide.geometry.matrix), []).append(guide)
    return list(groups.values())


def _stack(slices: Sequence[Guide]) -> _Stack | str:
    """Or why it is no guide."""
    name, normal = _name(slices[0].contrast), slices[0].geometry.directions[2]
    ordered: list[Guide] = []
    for guide in sorted(
        slices, key=lambda one: sum(n * mm for n, mm in zip(normal, one.geometry.centre_mm, strict=True))
    ):
        if not (ordered and is_same_place(ordered[-1].geometry, guide.geometry)):
            ordered.append(guide)
    geometry = stacked([guide.geometry for guide in ordered])
    if geometry is None:
        return f"{name} is no guide: its slices are not evenly spaced"
    images = [image for image in (guide.load() for guide in ordered) if image is not None]
    if len(images) < len(ordered):
        return f"{name} is no guide: it has been forgotten since"
    return _Stack(name, torch.cat(images), geometry)


def _name(contrast: Contrast) -> str:
    return contrast.protocol or contrast.series or contrast.sequence or contrast.sequence_type or "a scan"
