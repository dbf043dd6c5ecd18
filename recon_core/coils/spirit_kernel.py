"""SPIRiT kernels: every sample as a linear combination of its neighbours in all coils."""

import math

import torch

from recon_core.coils.neighbourhoods import lines_at, window_gram
from recon_core.errors import CalibrationError, InputError


def spirit_kernel(calibration: torch.Tensor, width: int = 7, regularisation: float = 1e-2) -> torch.Tensor:
    """The kernels g that best predict each sample from its neighbours: argmin_g ‖A g − a_i‖² + λ‖g‖².

    A row of A holds the samples of one window, all coils, and a_i its middle sample of coil i, which A then
    leaves out: (G y)_i(p) = Σ_j Σ_k g_ij(k) y_j(p + k), with k from −(width // 2) to width // 2 along ky and
    kx, and g_ii(0) = 0. Entry [i, j, ky, kx] of the result is g_ij at k = (ky, kx) − width // 2.

    With P = (AᴴA + λI)⁻¹, A now whole, g_i = −P e_i / P_ii for the middle sample e_i of coil i: leaving one
    column out of a least-squares problem is one column of the inverse of all of it. So one factorisation
    serves every coil.

    Args:
        calibration: (*batch, coil, ky, kx), fully sampled; best noise-whitened.
        width: samples a window spans along ky and kx, odd.
        regularisation: Tikhonov weight; λ = regularisation·‖AᴴA‖_F / n with n columns of A.

    Returns:
        (*batch, coil out, coil in, ky, kx).

    Raises:
        CalibrationError: fewer windows than samples in one coil's window (2·width − 1 samples along each axis
            are enough), or data without signal.
        InputError: an even width, or data without a coil axis.

    Lustig & Pauly 2010, doi:10.1002/mrm.22428, who solve for each coil, and take λ from AᴴA less the column.
    """
    if width < 1 or width % 2 == 0 or regularisation < 0 or calibration.ndim < 3:
        raise InputError(
            "spirit_kernel: expected calibration (*batch, coil, ky, kx), an odd width and a regularisation "
            f"not below zero, got {tuple(calibration.shape)}, {width} and {regularisation:g}"
        )
    n_coils, n_y, n_x = calibration.shape[-3:]
    n_windows = (n_y - width + 1, n_x - width + 1)
    if min(n_windows) < 1 or math.prod(n_windows) < width**2:
        raise CalibrationError(
            f"spirit_kernel: expected at least {2 * width - 1} x {2 * width - 1} calibration samples for a "
            f"kernel of width {width}, got {n_y} x {n_x}; acquire more reference lines or choose a smaller "
            "kernel"
        )
    lines = lines_at(calibration.unsqueeze(-3), [(0, y) for y in range(width)], (1, n_windows[0]))
    # In double precision: the condition number is that of the data, squared.
    normal = window_gram(lines, width).to(torch.complex128)
    power = torch.linalg.matrix_norm(normal)
    if not bool((torch.isfinite(power) & (power > 0)).all()):
        raise CalibrationError(
            "spirit_kernel: expected calibration data with signal, got zeros, NaN or infinities"
        )
    n_columns = normal.shape[-1]
    weight = regularisation * power / n_columns
    normal.diagonal(dim1=-2, dim2=-1).add_(weight.unsqueeze(-1))
    factor, failed = torch.linalg.cholesky_ex(normal)
    if bool(failed.any()):
        raise CalibrationError(
            "spirit_kernel: the calibration data leave the kernel open; raise regularisation"
        )
    coils = torch.arange(n_coils, device=calibration.device)
    middles = (width**2 // 2) * n_coils + coils
    units = torch.zeros_like(normal[..., :n_coils])
    units[..., middles, coils] = 1
    columns = torch.cholesky_solve(units, factor)
    kernel = columns / -columns[..., middles, coils].unsqueeze(-2)
    kernel[..., middles, coils] = 0
    by_sample = kernel.view(*kernel.shape[:-2], width, width, n_coils, n_coils)  # (kx, ky, coil in, coil out)
    ordered: torch.Tensor = by_sample.movedim((-1, -2, -3), (-4, -3, -2)).to(calibration.dtype)
    return ordered.contiguous()
