"""Small undersampled slices for tests of networks."""

from dataclasses import replace

import torch

from recon_core.nets.undersampled import Undersampled


def undersampled_slices(
    n_coils: int = 1, shape: tuple[int, int] = (20, 17), *, seed: int = 0
) -> Undersampled:
    """Two slices of noise, every second line and those at the centre; without maps if one coil."""
    generator = torch.Generator().manual_seed(seed)
    size = (2, n_coils, *shape)
    sampled = torch.zeros(2, *shape, dtype=torch.bool)
    sampled[0, ::2], sampled[1, 1::2] = True, True
    sampled[:, shape[0] // 2 - 2 : shape[0] // 2 + 2] = True
    kspace = torch.randn(size, dtype=torch.complex64, generator=generator) * sampled[:, None]
    coil_maps = torch.randn(size, dtype=torch.complex64, generator=generator)
    coil_maps = torch.nn.functional.normalize(coil_maps, dim=1) if n_coils > 1 else None
    return Undersampled(kspace=kspace, sampled=sampled, coil_maps=coil_maps)


def with_a_map_of_one(single: Undersampled) -> Undersampled:
    """The same slices of one coil, its sensitivity given."""
    return replace(single, coil_maps=torch.ones_like(single.kspace))
