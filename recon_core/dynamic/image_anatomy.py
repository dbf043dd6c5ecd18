"""An anatomy made of a real image: tissues by their labels, and by brightness where there are none."""

import math

import torch
from torch.nn.functional import interpolate

from recon_core.dynamic.anatomy import N_ANGLES, Anatomy, HeartContours, pixel_positions_mm, with_properties
from recon_core.dynamic.chest_phantom import FOV_MM
from recon_core.dynamic.tissues import Tissue
from recon_core.errors import InputError
from recon_core.training.draws import Draws

RIGHT_VENTRICLE, MYOCARDIUM, LEFT_VENTRICLE = 1, 2, 3
"""Labels as in ACDC: Bernard et al. 2018, doi:10.1109/TMI.2018.2837502."""
WALL_MM = 8.0
"""Of a heart whose wall nobody has labelled."""


def labelled_anatomy(
    image: torch.Tensor,
    labels: torch.Tensor,
    n: int,
    draws: Draws,
    *,
    fov_mm: float = FOV_MM,
    field_strength_t: float = 3.0,
) -> Anatomy:
    """`(n, n)` maps of a short-axis image `(y, x)` with labels of the heart at the end of diastole.

    Outside the labels tissue is by brightness, see `_by_brightness`. The image, made square by zeros, fills
    the view.

    Raises InputError where shapes differ or the left ventricle and its wall are not labelled.
    """
    if image.shape != labels.shape or image.ndim != 2:
        raise InputError(
            f"labelled_anatomy: expected an image (y, x) and its labels, got {tuple(image.shape)} and "
            f"{tuple(labels.shape)}"
        )
    _require_finite(image)
    if not all((labels == wanted).any() for wanted in (MYOCARDIUM, LEFT_VENTRICLE)):
        raise InputError(
            "labelled_anatomy: expected labels 2 (myocardium) and 3 (left ventricle), got "
            f"{sorted(set(labels.flatten().tolist()))}; choose another slice"
        )
    image = _on_grid(image.float(), n, "bicubic").clamp(min=0)
    labels = _on_grid(labels.float(), n, "nearest").byte()
    pixel_mm = fov_mm / n
    cavity = torch.nonzero(labels == LEFT_VENTRICLE).float()
    centre = cavity.mean(0)
    radii = [
        _outline(labels == LEFT_VENTRICLE, centre),
        _outline(labels >= MYOCARDIUM, centre),
        _outline(labels > 0, centre),
    ]
    heart = _contours(centre, radii, n, pixel_mm)
    tissue = _by_brightness(image, heart, pixel_mm)
    tissue[(labels == LEFT_VENTRICLE) | (labels == RIGHT_VENTRICLE)] = int(Tissue.BLOOD)
    tissue[labels == MYOCARDIUM] = int(Tissue.MYOCARDIUM)
    return with_properties(
        tissue,
        heart,
        draws,
        fov_mm=fov_mm,
        field_strength_t=field_strength_t,
        texture=_texture(image, tissue),
    )


def cine_anatomy(
    frames: torch.Tensor, n: int, draws: Draws, *, fov_mm: float = FOV_MM, field_strength_t: float = 3.0
) -> Anatomy:
    """`(n, n)` maps of the first frame of a cine `(frame, y, x)` without labels.

    The heart is taken to be where the frames differ: an ellipse with the centre and the second moments of
    their standard deviation. It beats as a short axis would, whatever the plane; the frames' own motion is
    not used.

    Raises InputError for fewer than two frames, or frames that do not differ.
    """
    if frames.ndim != 3 or len(frames) < 2:
        raise InputError(f"cine_anatomy: expected frames (frame, y, x), got {tuple(frames.shape)}")
    _require_finite(frames)
    change = _on_grid(frames.float().std(0), n, "bicubic")
    change = (change - 0.2 * change.max()).clamp(min=0)
    if not change.any():
        raise InputError("cine_anatomy: expected frames that differ, got the same one; give a cine")
    image = _on_grid(frames[0].float(), n, "bicubic").clamp(min=0)
    axis = torch.arange(n, dtype=torch.float32)
    places = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), dim=-1).flatten(0, 1)
    weight = change.flatten() / change.sum()
    centre = weight @ places
    covariance = (weight[:, None] * (places - centre)).mT @ (places - centre)
    angle_rad = 2 * math.pi * torch.arange(N_ANGLES) / N_ANGLES
    direction = torch.stack([angle_rad.sin(), angle_rad.cos()], dim=-1)
    # An evenly filled ellipse reaches two standard deviations.
    outer = 2 / torch.einsum("ai,ij,aj->a", direction, torch.linalg.inv(covariance), direction).sqrt()
    pixel_mm = fov_mm / n
    heart = _contours(centre, [outer - WALL_MM / pixel_mm, outer, outer], n, pixel_mm)
    tissue = _by_brightness(image, heart, pixel_mm)
    return with_properties(
        tissue,
        heart,
        draws,
        fov_mm=fov_mm,
        field_strength_t=field_strength_t,
        texture=_texture(image, tissue),
    )


def _contours(centre: torch.Tensor, radii: list[torch.Tensor], n: int, pixel_mm: float) -> HeartContours:
    """From pixels to mm, each contour at least 2 mm outside the one before."""
    contours = [(radii[0] * pixel_mm).clamp(min=2)]
    for radius in radii[1:]:
        contours.append(torch.maximum(radius * pixel_mm, contours[-1] + 2))
    y, x = ((centre - n // 2) * pixel_mm).tolist()
    return HeartContours(centre_mm=(y, x), radii_mm=torch.stack(contours))


def _outline(inside: torch.Tensor, centre: torch.Tensor) -> torch.Tensor:
    """`(angle,)`: how far from the centre the region reaches in each direction, in pixels, smoothed."""
    offset = torch.nonzero(inside).float() - centre
    angle = (torch.atan2(offset[:, 0], offset[:, 1]) / (2 * math.pi) % 1 * N_ANGLES).long() % N_ANGLES
    reach = torch.zeros(N_ANGLES).scatter_reduce(0, angle, offset.norm(dim=1), "amax")
    spectrum = torch.fft.rfft(reach)
    order = torch.arange(len(spectrum))
    smooth: torch.Tensor = torch.fft.irfft(spectrum * torch.exp(-((order / 12) ** 2)), N_ANGLES)
    return smooth


def _by_brightness(image: torch.Tensor, heart: HeartContours, pixel_mm: float) -> torch.Tensor:
    """`(y, x)` uint8: air around the body; in it lung, muscle and fat; in the heart myocardium and blood.

    Thresholds are shares of the brightest: a bright-blood image without strong shading is taken for granted.
    What is as bright as muscle, as liver is, becomes muscle.
    """
    from scipy.ndimage import binary_fill_holes, binary_opening, gaussian_filter, label

    n = len(image)
    relative = torch.from_numpy(gaussian_filter((image / image.quantile(0.98)).numpy(), 1.2))
    regions, _ = label(binary_opening(relative.numpy() > 0.07, iterations=2))
    if not regions.any():
        raise InputError("image_anatomy: expected a body that is brighter than the air around it, got none")
    largest = int(torch.from_numpy(regions).flatten().long().bincount()[1:].argmax()) + 1
    body = torch.from_numpy(binary_fill_holes(regions == largest))
    distance, radii = heart.polar(pixel_positions_mm(n, n * pixel_mm))
    in_heart = distance < radii[-1]

    tissue = torch.full((n, n), int(Tissue.LUNG), dtype=torch.uint8)
    for threshold, outside, inside in (
        (0.13, Tissue.MUSCLE, Tissue.MYOCARDIUM),
        (0.45, Tissue.MUSCLE, Tissue.BLOOD),
        (0.6, Tissue.FAT, Tissue.BLOOD),
    ):
        tissue[~in_heart & (relative > threshold)] = int(outside)
        tissue[in_heart & (relative > threshold)] = int(inside)
    tissue[~body] = int(Tissue.AIR)
    return tissue


def _texture(image: torch.Tensor, tissue: torch.Tensor) -> torch.Tensor:
    """`(y, x)`: the image over the mean of its tissue, tempered."""
    texture = torch.ones_like(image)
    for label in Tissue:
        inside = tissue == label
        if inside.any():
            texture[inside] = (image[inside] / image[inside].mean().clamp(min=1e-6)).clamp(0.5, 1.6).sqrt()
    return texture


def _require_finite(image: torch.Tensor) -> None:
    if image.numel() == 0 or not bool(torch.isfinite(image).all()):
        raise InputError(
            f"image_anatomy: expected pixels with finite values, got {tuple(image.shape)}, not all finite; "
            "mend the image"
        )


def _on_grid(image: torch.Tensor, n: int, mode: str) -> torch.Tensor:
    """Padded to a square about its middle and resampled to `(n, n)`."""
    side = max(image.shape)
    square = image.new_zeros(side, side)
    top, left = ((side - length) // 2 for length in image.shape)
    square[top : top + image.shape[0], left : left + image.shape[1]] = image
    corners = None if mode == "nearest" else False
    resampled: torch.Tensor = interpolate(square[None, None], (n, n), mode=mode, align_corners=corners)
    return resampled[0, 0]
