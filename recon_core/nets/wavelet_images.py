"""Wavelet SENSE of slices as networks are given them: where one begins, and what all are judged beside."""

import torch

from recon_core.nets.undersampled import Undersampled
from recon_core.sense import wavelet_sense


def wavelet_images(undersampled: Undersampled, *, n_iterations: int = 50) -> torch.Tensor:
    """`(slice, set, y, x)`, regularised by their noise levels, see `recon_core.sense.wavelet_sense`.

    One set of maps, or two where there is a second one; zero where a slice has none of it. One slice after
    the other: each has maps and thresholds of its own.
    """
    coil_maps, second_maps = undersampled.coil_maps, undersampled.second_maps
    if coil_maps is None:
        coil_maps = torch.ones_like(undersampled.kspace)
    sets = coil_maps[:, None] if second_maps is None else torch.stack([coil_maps, second_maps], dim=1)
    images = sets.new_zeros((*sets.shape[:2], *sets.shape[-2:]))
    for i, (kspace, maps, sampled) in enumerate(
        zip(undersampled.kspace, sets, undersampled.sampled, strict=True)
    ):
        present = [0] if len(maps) == 1 or not maps[1].any() else [0, 1]
        images[i, present] = wavelet_sense(
            kspace[:, None],
            maps[present][:, :, None],
            sampled[None],
            n_iterations=n_iterations,
            noise_std=None if undersampled.noise_std is None else undersampled.noise_std[i],
        )[:, 0]
    return images
