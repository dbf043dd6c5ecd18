"""Coil images into one image."""

import torch
from torch.nn.functional import avg_pool3d

from recon_core.coils.compression import svd_compression
from recon_core.coils.phase import reference_phase


def rss(images: torch.Tensor, coil_axis: int = -4) -> torch.Tensor:
    """Root of the sum of squares over coils, ``sqrt(sum_c |x_c|^2)``; real, `images` less its coil axis.

    Roemer et al. 1990, doi:10.1002/mrm.1910160203.
    """
    power: torch.Tensor = torch.linalg.vecdot(images, images, dim=coil_axis).real
    return power.sqrt()


def sense_combine(images: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
    """The least-squares image of fully sampled coil images, ``sum_c s_c^* x_c / sum_c |s_c|^2``, zero where
    maps are.

    images, maps: (*batch, coil, z, y, x), broadcasting. Returns (*batch, z, y, x).
    Pruessmann et al. 1999, doi:10.1002/(SICI)1522-2594(199911)42:5<952::AID-MRM16>3.0.CO;2-S, at R = 1.
    """
    weight = torch.linalg.vecdot(maps, maps, dim=-4).real
    matched: torch.Tensor = torch.linalg.vecdot(maps, images, dim=-4)
    image: torch.Tensor = matched / weight.where(weight > 0, 1.0)
    return image


def combined_sets(images: torch.Tensor, set_axis: int = -4) -> torch.Tensor:
    """The images of several sets of maps as one: phase of the first, magnitude sqrt(sum_m |x_m|^2).

    Sets are orthogonal over coils at every pixel, so that this is the root of the sum of squares of the coil
    images they make. `images` less its set axis; those of one set are returned as they are.
    """
    first = images.select(set_axis, 0)
    if images.shape[set_axis] == 1:
        return first
    return torch.polar(rss(images, set_axis), first.angle())


def adaptive_maps(images: torch.Tensor, width: int = 7, n_iterations: int = 5) -> torch.Tensor:
    """Relative coil maps from coil images: the dominant eigenvector of each pixel's local coil covariance.

    Walsh et al. 2000, doi:10.1002/(SICI)1522-2594(200005)43:5<682::AID-MRM10>3.0.CO;2-G, define it; the power
    iteration is Inati et al. 2014 (ISMRM, p. 4407), ``s <- mean_box(x conj(s^H x)) / norm``, which never
    forms the covariance. Unit norm over coils; the phase is that of the first principal coil (see
    `reference_phase`).

    images: (coil, z, y, x); width: side of the box in pixels, odd (1 along an axis of length one). Returns
    the shape of images.
    """
    box = [min(width, length - 1 + length % 2) for length in images.shape[1:]]
    principal = svd_compression(images, 1)[0]
    seen = torch.einsum("c,czyx->zyx", principal, images)
    maps = _box_mean(images * seen.conj(), box)
    for _ in range(n_iterations):
        maps = _unit_norm(maps)
        maps = _box_mean(images * torch.linalg.vecdot(images, maps, dim=0), box)
    return reference_phase(_unit_norm(maps), principal)


def adaptive_combine(images: torch.Tensor, width: int = 7, n_iterations: int = 5) -> torch.Tensor:
    """Complex image ``sum_c s_c^* x_c`` with `adaptive_maps` s: matched to the signal, phase kept, noise not
    rectified.

    images: (coil, z, y, x). Returns (z, y, x).
    """
    return sense_combine(images, adaptive_maps(images, width, n_iterations))


def _unit_norm(maps: torch.Tensor) -> torch.Tensor:
    norm = rss(maps).unsqueeze(-4)
    return maps / norm.where(norm > 0, 1.0)


def _box_mean(images: torch.Tensor, box: list[int]) -> torch.Tensor:
    """Mean over a box about each pixel, of the pixels inside the image."""
    planes = torch.view_as_real(images).movedim(-1, 0).flatten(0, 1)
    mean = avg_pool3d(planes, box, stride=1, padding=[side // 2 for side in box], count_include_pad=False)
    return torch.complex(*mean.chunk(2))
