"""SigPy's reconstruction apps as a second implementation behind the calls of `recon_core.sense`."""

from typing import Any

import numpy.typing as npt
import torch

from recon_core.errors import InputError
from recon_core.non_cartesian_sense import NonCartesianSampling


def sigpy_app(
    name: str,
    kspace: torch.Tensor,
    coil_maps: torch.Tensor,
    sampled: torch.Tensor | NonCartesianSampling,
    *,
    lamda: torch.Tensor,
    options: dict[str, Any],
) -> torch.Tensor:
    """Run ``sigpy.mri.app.<name>`` on every item of the batch, on CPU.

    Ong & Lustig 2019, https://github.com/mikgroup/sigpy.

    Args:
        kspace: (*batch, coil, kz, ky, kx), or (*batch, coil, readout, sample) off the grid.
        coil_maps: (coil, z, y, x); SigPy knows no map sets.
        sampled: mask that broadcasts to (kz, ky, kx), or the trajectory and its weights.
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
    maps = _array(coil_maps.reshape(-1, *axes))
    if isinstance(sampled, torch.Tensor):
        mask = sampled.to(kspace.device).expand(image_shape)
        batch = torch.where(mask, kspace, 0).reshape(-1, len(maps), *axes)
        n_kspace_axes = 4
        options = {**options, "weights": _array(mask.reshape(axes).to(coil_maps.real.dtype))}
    else:
        batch = kspace.reshape(-1, *kspace.shape[-3:])
        n_kspace_axes = 3
        options = {**options, "coord": _array(sampled.trajectory[..., : len(axes)].flip(-1))}
        if sampled.weights is not None:
            options["weights"] = _array(sampled.weights.to(coil_maps.real.dtype))
    images = [
        app(_array(y), maps, lamda=float(weight), show_pbar=False, **options).run()
        for y, weight in zip(batch, lamda.flatten(), strict=True)
    ]
    stacked = torch.stack([torch.from_numpy(image) for image in images])
    return stacked.reshape(*kspace.shape[:-n_kspace_axes], *image_shape).to(kspace.device)


def _array(tensor: torch.Tensor) -> npt.NDArray[Any]:
    return tensor.resolve_conj().cpu().numpy()
