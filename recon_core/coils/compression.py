"""Coil compression: few virtual coils that keep most of the signal.

The results are matrices, so they compose with whitening: ``svd_compression(...) @ whitening_matrix(...)``.
"""

import torch

from recon_core.errors import CalibrationError, InputError
from recon_core.fourier import fft, ifft, resize

X_AXIS = (-1,)


def svd_compression(
    calibration: torch.Tensor, n_coils: int | None = None, *, energy: float = 1.0
) -> torch.Tensor:
    """The principal combinations of channels, strongest first: rows of ``U^H`` in ``Y = U S V^H``, Y (coil,
    samples).

    calibration: (coil, kz, ky, kx); n_coils: virtual coils wanted, at most those there are; energy: without
    n_coils, keep the fewest whose share of the energy reaches this fraction. Returns (n_virtual, coil),
    orthonormal rows, the phase of each fixed by its largest weight, which is real and positive. Raises
    CalibrationError on zero or non-finite data.

    Buehrer et al. 2007, doi:10.1002/mrm.21237; Huang et al. 2008, doi:10.1016/j.mri.2007.04.010.
    """
    samples = _checked(calibration, "svd_compression").flatten(1)
    power, vectors = torch.linalg.eigh(samples @ samples.mH)
    power, vectors = power.flip(-1).clamp(min=0), vectors.flip(-1)
    if n_coils is None:
        share = power.cumsum(0) / power.sum()
        n_coils = 1 + int((share < energy - 1e-6).sum())
    rows: torch.Tensor = vectors[:, :n_coils].mH
    strongest = rows.gather(1, rows.abs().argmax(1, keepdim=True))
    return rows.mul(torch.sgn(strongest).conj())


def geometric_compression(
    calibration: torch.Tensor, n_coils: int, n_readout: int | None = None
) -> torch.Tensor:
    """One compression matrix per readout position x, aligned so that virtual coils vary smoothly along x.

    At every x of the hybrid space (x, ky, kz), A_x holds the principal combinations of channels. From the
    centre outwards each is rotated within its own space towards its neighbour, ``A_x <- V U^H A_x`` with
    ``A_x A_prev^H = U S V^H`` (the orthogonal Procrustes problem).

    calibration: (coil, kz, ky, kx) with kx the whole readout, or its centre, zero-padded to n_readout;
    n_coils: virtual coils, at most those there are. Returns (x, n_virtual, coil), orthonormal rows. Raises
    CalibrationError on zero or non-finite data.

    Zhang et al. 2013, doi:10.1002/mrm.24267, which starts at one end; starting in the centre, where the
    object is, keeps the noise outside it from choosing the alignment.
    """
    calibration = _checked(calibration, "geometric_compression")
    n_x = n_readout or calibration.shape[-1]
    hybrid = ifft(resize(calibration, (n_x,)), X_AXIS)
    at_x = hybrid.permute(3, 0, 1, 2).flatten(2)
    _, vectors = torch.linalg.eigh(at_x @ at_x.mH)
    matrices: torch.Tensor = vectors.flip(-1)[..., :n_coils].mH.contiguous()
    centre = n_x // 2
    for x, previous in [(x, x - 1) for x in range(centre + 1, n_x)] + [
        (x, x + 1) for x in range(centre - 1, -1, -1)
    ]:
        u, _, vh = torch.linalg.svd(matrices[x] @ matrices[previous].mH)
        matrices[x] = (u @ vh).mH @ matrices[x]
    return matrices


def apply_coil_matrix(matrix: torch.Tensor, kspace: torch.Tensor) -> torch.Tensor:
    """Channels recombined: ``y_v = sum_c M_vc x_c``.

    matrix: (virtual, coil), or (x, virtual, coil) applied in hybrid space, at each position along the
    readout; kspace: (*batch, coil, kz, ky, kx). Returns (*batch, virtual, kz, ky, kx). Raises InputError
    where coils or readout length differ.
    """
    if matrix.ndim not in (2, 3) or kspace.ndim < 4 or matrix.shape[-1] != kspace.shape[-4]:
        raise InputError(
            "apply_coil_matrix: expected a matrix (virtual, coil) or (x, virtual, coil) and k-space "
            f"(..., coil, kz, ky, kx), got {tuple(matrix.shape)} and {tuple(kspace.shape)}; "
            "calibrate on this scan's coils"
        )
    if matrix.ndim == 2:
        # One product per line: k-space assembled from readouts lies in memory line by line already.
        return torch.matmul(matrix, kspace.movedim(-4, -2)).movedim(-2, -4)
    if matrix.shape[0] != kspace.shape[-1]:
        raise InputError(
            f"apply_coil_matrix: expected a readout of {matrix.shape[0]} samples, got {kspace.shape[-1]}; "
            "give geometric_compression this n_readout"
        )
    hybrid = ifft(kspace, X_AXIS)
    return fft(torch.einsum("xvc,...czyx->...vzyx", matrix, hybrid), X_AXIS)


def _checked(calibration: torch.Tensor, where: str) -> torch.Tensor:
    if calibration.ndim != 4:
        raise InputError(
            f"{where}: expected calibration (coil, kz, ky, kx), got shape {tuple(calibration.shape)}; reshape"
        )
    if not bool(torch.isfinite(calibration).all()) or not bool(calibration.any()):
        raise CalibrationError(
            f"{where}: expected finite calibration data with signal, got "
            "zeros, NaN or Inf; check the calibration lines"
        )
    return calibration
