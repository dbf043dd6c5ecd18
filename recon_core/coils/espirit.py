"""Coil sensitivity maps from the centre of k-space (ESPIRiT)."""

import math
from typing import Literal, NamedTuple

import torch

from recon_core.coils.compression import svd_compression
from recon_core.coils.espirit_eigen import dominant_eigenvectors
from recon_core.coils.espirit_kernels import Threshold, covariance_nodes, signal_kernels
from recon_core.coils.phase import reference_phase
from recon_core.errors import CalibrationError, InputError
from recon_core.fourier import resize

Shape = tuple[int, int, int]


class EspiritMaps(NamedTuple):
    """Maps (set, coil, z, y, x) of unit norm over coils, their eigenvalues (set, z, y, x) from 0 to 1."""

    maps: torch.Tensor
    eigenvalues: torch.Tensor


def espirit(
    calibration: torch.Tensor,
    shape: Shape,
    *,
    kernel_width: int = 6,
    threshold: Threshold = "auto",
    crop: float = 0.8,
    n_maps: int = 1,
    backend: Literal["torch", "sigpy"] = "torch",
) -> EspiritMaps:
    """Coil maps s(x): eigenvectors of ``G(x) s(x) = lambda(x) s(x)`` with the largest eigenvalues.

    G(x) is how the space of calibration patches (see `espirit_kernels`) looks at pixel x. Where there is
    signal that n_maps sets explain, lambda is close to 1; where there is none, smaller, and maps are cropped
    to zero there.

    Args:
        calibration: (coil, kz, ky, kx), the fully sampled centre of k-space, of any size; kz = 1 in 2-D.
            More than about 24 samples an axis cost time and give little.
        shape: (z, y, x) of the maps.
        kernel_width: k-space samples a patch spans along each axis longer than one.
        threshold: singular values below this share of the largest are left out; "auto": those that noise of
            the level found in the data can make, and at least those below 0.02.
        crop: a set's maps are zero where its eigenvalue is smaller; 0 keeps all.
        n_maps: sets of maps; two or more describe folded-in anatomy beside the main signal.
        backend: "sigpy" runs SigPy's EspiritCalib instead, as a reference: one set, at most 100 power
            iterations, a numeric threshold, and a calibration cut to its shortest side.

    The phase of each set at each pixel is free: here the first principal coil of the calibration sees it as
    real and positive. One coil has nothing to calibrate: its map and eigenvalues are 1 everywhere.

    Raises CalibrationError where patches are larger than the calibration or fewer than they have samples
    (each axis of 2 kernel_width - 1 samples is enough), and on zero or non-finite data.

    Uecker et al. 2014, doi:10.1002/mrm.24751. Ours: the eigenvectors by a coarse-to-fine iteration in place
    of a decomposition of each pixel, and the automatic threshold.
    """
    widths = _checked_widths(calibration, shape, kernel_width)
    n_coils = len(calibration)
    if not 1 <= n_maps <= n_coils:
        raise InputError(f"espirit: expected 1 to {n_coils} sets of maps for {n_coils} coils, got {n_maps}")
    virtual_coil = svd_compression(calibration, 1)[0]
    if n_coils == 1:
        ones = calibration.new_ones((1, 1, *shape))
        return EspiritMaps(ones, ones.real[0])
    if backend == "sigpy":
        if n_maps != 1 or threshold == "auto":
            raise InputError(
                f"espirit: expected one set and a numeric threshold for backend 'sigpy', got {n_maps} and "
                f"{threshold!r}; use backend 'torch'"
            )
        vectors, values = _sigpy(calibration, shape, kernel_width, threshold)
        vectors = reference_phase(vectors, virtual_coil)
    else:
        nodes = covariance_nodes(signal_kernels(calibration, widths, threshold))
        vectors, values = dominant_eigenvectors(nodes, shape, n_maps, virtual_coil)
    return EspiritMaps(vectors * (values >= crop).unsqueeze(1), values)


def _checked_widths(calibration: torch.Tensor, shape: Shape, kernel_width: int) -> Shape:
    """The patch (z, y, x), or an error that says which sizes are needed."""
    if calibration.ndim != 4 or len(shape) != 3:
        raise InputError(
            "espirit: expected calibration (coil, kz, ky, kx) and shape (z, y, x), got "
            f"{tuple(calibration.shape)} and {tuple(shape)}; reshape, with kz = z = 1 in 2-D"
        )
    sizes = tuple(calibration.shape[1:])
    z, y, x = (1 if length == 1 else kernel_width for length in shape)
    positions = [size - width + 1 for size, width in zip(sizes, (z, y, x), strict=True)]
    too_large = any(size > length for size, length in zip(sizes, shape, strict=True))
    if too_large or min(positions) < 1 or math.prod(positions) < z * y * x:
        wanted = tuple(min(2 * kernel_width - 1, length) for length in shape)
        raise CalibrationError(
            f"espirit: expected calibration of at least {wanted} and at most {tuple(shape)} samples "
            f"(kz, ky, kx) for kernels of {kernel_width}, got {sizes}; "
            "give more calibration lines or a smaller kernel_width"
        )
    return z, y, x


def _sigpy(
    calibration: torch.Tensor, shape: Shape, kernel_width: int, threshold: float
) -> tuple[torch.Tensor, torch.Tensor]:
    import sigpy.mri.app

    axes = [axis for axis, length in enumerate(shape, start=1) if length > 1]
    kspace = resize(calibration, shape).squeeze([axis for axis in (1, 2, 3) if axis not in axes])
    app = sigpy.mri.app.EspiritCalib(
        kspace.cpu().numpy(),
        calib_width=min(calibration.shape[axis] for axis in axes),
        thresh=threshold,
        kernel_width=kernel_width,
        crop=0,
        output_eigenvalue=True,
        show_pbar=False,
    )
    maps, eigenvalues = (torch.from_numpy(output).to(calibration.device) for output in app.run())
    return maps.reshape(1, -1, *shape), eigenvalues.reshape(1, *shape)
