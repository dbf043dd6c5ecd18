"""From a fully sampled scan to an undersampled one, and what should come out."""

import torch

from recon_core.coils.combine import combined_sets
from recon_core.coils.compression import svd_compression
from recon_core.coils.espirit import espirit
from recon_core.fourier import ifft
from recon_core.nets.undersampled import Undersampled
from recon_core.noise_level import estimated_noise_std
from recon_core.training.draws import Draws
from recon_core.training.known_maps import calibration_samples, estimated_maps
from recon_core.training.random_coils import N_NODES
from recon_core.training.slices import Slice


def undersampled_scan(
    scan: Slice, sampled: torch.Tensor, draws: Draws, *, augment: bool
) -> tuple[Undersampled, torch.Tensor]:
    """y = M k of a slice of k-space, with maps Ŝ estimated from it, and the target Ŝᴴ F⁻¹ k.

    Args:
        scan: of k-space.
        sampled: `(ky, kx)` boolean.
        draws: where chance comes from.
        augment: whether to mirror the slice at random, along each axis.

    Returns:
        A batch of one slice, and its `(1, y, x)` target. A single coil gets no maps.

    Raises CalibrationError where `sampled` leaves too small a centre.
    """
    kspace = scan.data
    for axis in (-2, -1):
        if augment and draws.chance(0.5):
            kspace = _mirrored(kspace, axis)
    measured = kspace * sampled
    coil_images = ifft(kspace, (-2, -1))
    maps = None if len(kspace) == 1 else estimated_maps(measured, sampled)
    return calibrated(measured, sampled, maps), combined(coil_images, maps)[None]


def calibrated(kspace: torch.Tensor, sampled: torch.Tensor, maps: torch.Tensor | None) -> Undersampled:
    """A batch of one slice `(coil, ky, kx)`, with `(set, coil, y, x)` maps and an estimated noise level."""
    return Undersampled(
        kspace=kspace[None],
        sampled=sampled[None],
        coil_maps=None if maps is None else maps[:1],
        second_maps=None if maps is None else maps[1:],
        noise_std=estimated_noise_std(kspace, sampled)[None],
    )


def combined(coil_images: torch.Tensor, maps: torch.Tensor | None) -> torch.Tensor:
    """`(y, x)`: what a network should make of it, of `(coil, y, x)` and `(set, coil, y, x)` maps."""
    if maps is None:
        return coil_images[0]
    return combined_sets((maps.conj() * coil_images).sum(1), set_axis=0)


def measured_sensitivities(scan: Slice, n_coils: int) -> torch.Tensor:
    """`(coil, y, x)` on `N_NODES` squared: maps of the strongest virtual coils of a fully sampled slice.

    For other images' simulated scans. Known all over the field of view, also where there was no signal.
    """
    everywhere = torch.ones(scan.data.shape[1:], dtype=torch.bool)
    calibration = calibration_samples(scan.data, everywhere)
    matrix = svd_compression(calibration, n_coils)
    return espirit(torch.einsum("vc,czyx->vzyx", matrix, calibration), (1, N_NODES, N_NODES), crop=0).maps[
        0, :, 0
    ]


def _mirrored(kspace: torch.Tensor, axis: int) -> torch.Tensor:
    """k-space of the mirror image: frequency k goes to −k, both about index n // 2."""
    flipped = kspace.flip(axis)
    return flipped if kspace.shape[axis] % 2 else flipped.roll(1, axis)
