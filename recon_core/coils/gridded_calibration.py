"""A Cartesian calibration block from the centre of a non-Cartesian scan."""

import torch

from recon_core.errors import CalibrationError
from recon_core.fourier import fft, resize
from recon_core.nufft import Nufft, Shape
from recon_core.solve.conjugate_gradient import conjugate_gradient

MARGIN = 4
"""Cells of k-space beyond the block, on each side, that are solved for and dropped."""
DENSE = 0.95
"""Share of its cells that hold a sample where a block has no gaps."""
LEAST_WIDTH, LEAST_SHARE = 12, 0.25
"""A block of this width may have gaps, if this share of its cells hold samples: half the arms of a spiral are
enough for coil maps."""
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
        width: of the block along each axis where the sampling is dense that far; else as far as it is dense,
            or 12.

    Returns:
        (coil, kz, ky, kx), its middle n // 2 the centre of k-space.

    Raises:
        CalibrationError: the centre of k-space is hardly sampled, or its samples are zero or not finite.
    """
    half = _half_width(trajectory, shape, width // 2)
    n_z, n_y, n_x = (min(2 * half, n) for n in shape)
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


def _half_width(trajectory: torch.Tensor, shape: Shape, at_most: int) -> int:
    """Half the width of the largest block about the centre, up to `at_most`, that can be solved for."""
    cells = trajectory.flatten(0, 1).round().long()
    is_sampled = torch.zeros([2 * at_most if n > 1 else 1 for n in shape], dtype=torch.bool)
    axes = [axis for axis in (-3, -2, -1) if shape[axis] > 1]
    places = [cells[:, -1 - axis] + at_most for axis in axes]
    is_inside = torch.stack([(place >= 0) & (place < 2 * at_most) for place in places]).all(0)
    block = is_sampled.to(cells.device)
    block.squeeze()[tuple(place[is_inside] for place in places)] = True
    shares = {
        half: float(resize(block, [min(2 * half, n) for n in block.shape]).double().mean())
        for half in range(min(LEAST_WIDTH // 2, at_most), at_most + 1)
    }
    least = min(shares)
    if shares[least] < LEAST_SHARE:
        raise CalibrationError(
            "calibration: expected samples about the centre of k-space, got them in "
            f"{100 * shares[least]:.0f} % of its cells, {2 * least} along each axis; acquire more readouts, "
            "or pool several images"
        )
    return max([least, *(half for half, share in shares.items() if share >= DENSE)])
