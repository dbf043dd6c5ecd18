"""A Cartesian calibration block from the densely sampled centre of a non-Cartesian scan."""

import torch

from recon_core.errors import CalibrationError
from recon_core.fourier import fft, resize
from recon_core.nufft import Nufft, Shape
from recon_core.solve.conjugate_gradient import conjugate_gradient

MARGIN = 4
"""Cells of k-space beyond the block, on each side, that are solved for and dropped."""
DENSE = 0.95
"""Share of the block's cells that must hold a sample."""
N_ITERATIONS = 15


def gridded_calibration(
    kspace: torch.Tensor, trajectory: torch.Tensor, shape: Shape, width: int = 24
) -> torch.Tensor:
    """k-space on the Cartesian grid about its centre, which fits the samples there: argmin_x ‖F x − y‖².

    x are coil images of the whole field of view at low resolution, by conjugate gradients from zero, so that
    gaps are filled with the least energy.

    Args:
        kspace: y, (coil, readout, sample).
        trajectory: (readout, sample, 2 or 3), cycles per field of view.
        shape: (z, y, x) of the images.
        width: of the block along each axis, where the sampling is dense that far.

    Returns:
        (coil, kz, ky, kx), its middle n // 2 the centre of k-space.

    Raises:
        CalibrationError: the centre of k-space is not densely sampled, or its samples are zero or not finite.
    """
    half = _dense_half_width(trajectory, shape, width // 2)
    n_z, n_y, n_x = (min(2 * half, n) for n in shape)
    if half == 0:
        raise CalibrationError(
            "calibration: expected a densely sampled centre of k-space, got gaps; acquire more readouts, "
            "or pool several images"
        )
    grid = (min(n_z + 2 * MARGIN, shape[0]), min(n_y + 2 * MARGIN, shape[1]), min(n_x + 2 * MARGIN, shape[2]))
    reach = torch.tensor([n / 2 for n in reversed(grid)], device=trajectory.device)[: trajectory.shape[-1]]
    is_near = (trajectory.abs() <= reach).all(-1)
    samples = kspace[:, is_near].unsqueeze(1)
    if not bool(torch.isfinite(samples).all()) or not bool(samples.any()):
        raise CalibrationError(
            "calibration: expected finite samples with signal, got zeros, NaN or Inf; check the readouts"
        )
    nufft_op = Nufft(trajectory[is_near].unsqueeze(0), grid, dtype=kspace.dtype)
    images = conjugate_gradient(
        nufft_op.normal, nufft_op.H(samples), n_iterations=N_ITERATIONS, n_batch_axes=1
    )
    return resize(fft(images), (n_z, n_y, n_x))


def _dense_half_width(trajectory: torch.Tensor, shape: Shape, at_most: int) -> int:
    """Half the width of the largest block about the centre, up to `at_most`, whose cells hold samples."""
    cells = trajectory.flatten(0, 1).round().long()
    counted = torch.zeros([2 * at_most if n > 1 else 1 for n in shape], dtype=torch.bool, device=cells.device)
    axes = [axis for axis in (-3, -2, -1) if shape[axis] > 1]
    index = tuple(
        cells[:, -1 - axis] + at_most if axis in axes else torch.zeros_like(cells[:, 0])
        for axis in (-3, -2, -1)
    )
    is_inside = torch.stack([(i >= 0) & (i < n) for i, n in zip(index, counted.shape, strict=True)]).all(0)
    counted[tuple(i[is_inside] for i in index)] = True
    half = 0
    for candidate in range(1, at_most + 1):
        block = resize(counted, [min(2 * candidate, n) for n in counted.shape])
        if float(block.double().mean()) < DENSE:
            break
        half = candidate
    return half
