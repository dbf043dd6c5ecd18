"""SigPy's reconstruction apps as a second implementation behind the calls of `recon_core.sense`."""

from typing import Any

import torch

from recon_core.errors import InputError


def sigpy_app(
    name: str,
    kspace: torch.Tensor,
    coil_maps: torch.Tensor,
    sampled: torch.Tensor,
    *,
    lamda: torch.Tensor,
    options: dict[str, Any],
) -> torch.Tensor:
    """Run ``sigpy.mri.app.<name>`` on every item of the batch, on CPU.

    Ong & Lustig 2019, https://github.com/mikgroup/sigpy.

    Args:
        kspace: (*batch, coil, kz, ky, kx).
        coil_maps: (coil, z, y, x); SigPy knows no map sets.
        sampled: (kz, ky, kx).
        lamda: SigPy's regularisation weight, one number for each item of the batch.
        options: the app's further keyword arguments.

    Returns:
        (*batch, z, y, x) on the device of `kspace`.
    """
    import sigpy.mri.app

    if coil_maps.ndim != 4:
        raise InputError(
            f"SigPy: expected coil maps (coil, z, y, x), got {tuple(coil_maps.shape)}; "
            "use backend 'torch' for several map sets"
        )
    app = getattr(sigpy.mri.app, name)
    image_shape = coil_maps.shape[-3:]
    # SigPy transforms every image axis it is given, so that a 2-D image must not bring z along.
    axes = image_shape[1:] if image_shape[0] == 1 else image_shape
    maps = coil_maps.reshape(-1, *axes).resolve_conj().cpu().numpy()
    weights = sampled.reshape(axes).to(coil_maps.real.dtype).cpu().numpy()
    batch = torch.where(sampled, kspace, 0).reshape(-1, len(maps), *axes).cpu().numpy()
    images = [
        app(y, maps, lamda=float(weight), weights=weights, show_pbar=False, **options).run()
        for y, weight in zip(batch, lamda.flatten(), strict=True)
    ]
    stacked = torch.stack([torch.from_numpy(image) for image in images])
    return stacked.reshape(*kspace.shape[:-4], *image_shape).to(kspace.device)
