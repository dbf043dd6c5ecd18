"""Wavelet SENSE of slices as networks are given them: where one begins, and what all are judged beside."""

import torch

from recon_core.nets.undersampled import Undersampled
from recon_core.sense import wavelet_sense


def wavelet_images(
    undersampled: Undersampled, *, n_iterations: int = 50, regularisation: float = 0.002
) -> torch.Tensor:
    """`(slice, y, x)`, with the parameters of `recon_core.sense.wavelet_sense`.

    One slice after the other: each has maps and thresholds of its own.
    """
    coil_maps = undersampled.coil_maps
    if coil_maps is None:
        coil_maps = torch.ones_like(undersampled.kspace)
    return torch.cat(
        [
            wavelet_sense(
                kspace[:, None],
                maps[:, None],
                sampled[None],
                n_iterations=n_iterations,
                regularisation=regularisation,
            )
            for kspace, maps, sampled in zip(
                undersampled.kspace, coil_maps, undersampled.sampled, strict=True
            )
        ]
    )
