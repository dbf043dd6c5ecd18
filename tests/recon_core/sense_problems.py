"""Small SENSE problems for tests."""

from collections.abc import Callable

import torch

from recon_core import fourier

RunBart = Callable[..., list[torch.Tensor]]
Reconstruction = Callable[..., torch.Tensor]


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.complex128) -> torch.Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def smooth_maps(*shape: int, seed: int = 0) -> torch.Tensor:
    """Random low-frequency maps ([set,] coil, z, y, x), orthonormal over the coils at each pixel."""
    centre = [min(length, 3) for length in shape[-3:]]
    maps = fourier.ifft(fourier.resize(noise(*shape[:-3], *centre, seed=seed), shape[-3:]))
    if len(shape) == 4:
        return maps / maps.abs().square().sum(0).sqrt()
    orthonormal = torch.linalg.qr(maps.permute(2, 3, 4, 1, 0)).Q
    return orthonormal.permute(4, 3, 0, 1, 2)


def undersampled(matrix: tuple[int, int, int], kind: str) -> torch.Tensor:
    nz, ny, nx = matrix
    if kind == "everything":
        return torch.ones(1, 1, 1, dtype=torch.bool)
    if kind == "ky":
        mask = torch.zeros(ny, 1, dtype=torch.bool)
        mask[::2], mask[ny // 2 - ny // 8 : ny // 2 + ny // 8 + 1] = True, True
        return mask
    shape = {"kz, ky": (nz, ny, 1), "ky, kx": (ny, nx), "kx": (nx,), "kz, kx": (nz, 1, nx)}[kind]
    return torch.rand(shape, generator=torch.Generator().manual_seed(5)) < 0.6


def nrmse(image: torch.Tensor, reference: torch.Tensor) -> float:
    return float((image - reference).norm() / reference.norm())
