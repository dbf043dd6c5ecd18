"""Anatomy without a grid: shapes given by where a point lies in the patient, in any contrast."""

import torch

from recon_core.image_geometry import ImageGeometry

T1 = (0.0, 1.0, 0.6, 0.25, 0.8)
T2 = (0.0, 0.3, 0.5, 1.0, 0.1)


def tissue(
    geometry: ImageGeometry, contrast: tuple[float, ...], patient: int = 0, head_mm: float = 85.0
) -> torch.Tensor:
    """`(z, y, x)` float32: regions of four tissues within a head of elliptic section, air around it."""
    n_x, n_y, n_z = geometry.matrix
    z, y, x = torch.meshgrid(*(torch.arange(n).double() for n in (n_z, n_y, n_x)), indexing="ij")
    places = (torch.stack([x, y, z, torch.ones_like(x)], dim=-1) @ geometry.affine.T)[..., :3]
    random = torch.Generator().manual_seed(patient)
    folds = torch.zeros(places.shape[:-1], dtype=torch.float64)
    for _ in range(12):
        wave = 0.35 * (torch.rand(3, generator=random, dtype=torch.float64) - 0.5)
        folds += torch.sin(places @ wave + 6.3 * float(torch.rand(1, generator=random)))
    kind = 1 + torch.bucketize(folds, torch.tensor([-2.0, 0.0, 2.0], dtype=torch.float64))
    in_head = (places * torch.tensor([1.0, 0.85, 0.8])).norm(dim=-1) < head_mm
    return torch.tensor(contrast)[kind * in_head]
