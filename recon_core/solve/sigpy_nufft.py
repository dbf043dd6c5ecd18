"""SigPy's adjoint non-uniform transform as a second implementation of the subspace backprojection."""

import torch

from recon_core.nufft import Shape


def sigpy_feature_images(
    kspace: torch.Tensor, trajectory: torch.Tensor, basis: torch.Tensor, shape: Shape
) -> torch.Tensor:
    """Σ_r conj(φ_l(r)) F_rᴴ d_r by `sigpy.nufft_adjoint` on CPU, one coefficient after the other.

    Ong & Lustig 2019, https://github.com/mikgroup/sigpy. On a grid of twice the size with kernels six wide,
    which its defaults are too coarse without.

    Args:
        kspace: (coil, readout, sample).
        trajectory: (readout, sample, 2 or 3).
        basis: (L, readout).
        shape: (z, y, x).

    Returns:
        (L, coil, z, y, x) on the device of `kspace`.
    """
    import sigpy

    axes = [axis for axis, n in enumerate(shape) if n > 1]
    coordinates = trajectory[..., [2 - axis for axis in axes]].cpu().numpy()
    data = kspace.cpu()
    images = [
        sigpy.nufft_adjoint(
            (row.conj()[:, None] * data).resolve_conj().numpy(),
            coordinates,
            (len(data), *[shape[axis] for axis in axes]),
            oversamp=2,
            width=6,
        )
        for row in basis.cpu()
    ]
    stacked = torch.stack([torch.from_numpy(image) for image in images])
    return stacked.reshape(len(basis), len(data), *shape).to(kspace.device, kspace.dtype)
