"""Reconstructions by SPIRiT: k-space that agrees with its own calibration and with what was acquired.

Lustig & Pauly 2010, doi:10.1002/mrm.22428. G is the operator of `recon_core.spirit_operator`, in its image
space form.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch

from recon_core import fourier
from recon_core.errors import CalibrationError, InputError
from recon_core.solve.conjugate_gradient import conjugate_gradient
from recon_core.spirit_operator import CoilMixing, spirit_matrices
from recon_core.wavelet import Wavelet


def calibration_consistency(
    kspace: torch.Tensor, sampled: torch.Tensor, kernel: torch.Tensor, n_projections: int = 5
) -> torch.Tensor:
    """`n_projections` times y ← G y, each followed by strict data consistency: acquired samples stay.

    The calibration-consistency block of Dar et al. 2020, doi:10.1002/mrm.28148. Differentiable in `kspace`.

    Args:
        kspace: (slice, coil, ky, kx); an estimate at positions not sampled, the data where they are.
        sampled: (slice, ky, kx) boolean; one slice may serve all.
        kernel: (slice, coil, coil, ky, kx) of `spirit_kernel`; one slice may serve all.
        n_projections: applications of G.

    Returns:
        k-space of the same shape.

    Raises:
        InputError: shapes that do not fit.
    """
    problem = _Problem(kspace, sampled, kernel)
    mixing_op = CoilMixing(problem.matrices)
    estimate = problem.estimate
    for _ in range(n_projections):
        estimate = problem.with_data(mixing_op(problem.image(estimate)))
    return problem.kspace(estimate)


def cg_spirit(
    kspace: torch.Tensor,
    sampled: torch.Tensor,
    kernel: torch.Tensor,
    *,
    n_iterations: int = 15,
    regularisation: float = 0.0,
    tolerance: float = 0.0,
) -> torch.Tensor:
    """The missing samples z by conjugate gradients: argmin_z ‖(G − I)(y + z)‖² + λ ‖z‖², y kept as it is.

    Lustig & Pauly 2010, doi:10.1002/mrm.22428, equation 8 with strict data consistency.

    Args:
        kspace: (slice, coil, ky, kx); y where sampled, the first guess elsewhere, zero for none.
        sampled, kernel: as for `calibration_consistency`.
        n_iterations: at most; more fold out more, and let noise grow where samples are far apart.
        regularisation: λ; both terms grow with the square of the data.
        tolerance: stop when the residual of the normal equations, over its first value, is below it.

    Returns:
        k-space of the same shape; farther from any sample than the kernel reaches, close to zero.

    Raises:
        InputError: shapes that do not fit.
    """
    problem = _Problem(kspace, sampled, kernel)
    residual_normal = _minus_identity(problem.matrices).normal

    def normal(free: torch.Tensor) -> torch.Tensor:
        image = residual_normal(problem.image(free))
        return problem.free_part(image).add_(free, alpha=regularisation)

    free = conjugate_gradient(
        normal,
        -problem.free_part(residual_normal(problem.image(problem.data))),
        n_iterations=n_iterations,
        tolerance=tolerance,
        x0=problem.estimate - problem.data,
        n_batch_axes=1,
    )
    return problem.kspace(problem.data + free)


def l1_spirit(
    kspace: torch.Tensor,
    sampled: torch.Tensor,
    kernel: torch.Tensor,
    *,
    n_iterations: int = 50,
    regularisation: float = 2e-3,
    seed: int = 0,
) -> torch.Tensor:
    """SPIRiT with sparse wavelet coefficients, by projections onto convex sets (POCS).

    In turn: y ← G y; the acquired samples put back; wavelet coefficients soft-thresholded jointly over the
    coils; the acquired samples put back. Lustig & Pauly 2010, doi:10.1002/mrm.22428. The transform is
    Daubechies-4, at a new random shift in every iteration as in `recon_core.sense.wavelet_sense`.

    Args:
        kspace: (slice, coil, ky, kx); the data where sampled, the first guess elsewhere, zero for none.
        sampled, kernel: as for `calibration_consistency`.
        n_iterations: Dar et al. 2020, doi:10.1002/mrm.28148, take 20, 30, 45, 65 and 80 for R = 2, 4, 6, 8
            and 10.
        regularisation: the threshold, relative to the brightest sample of the zero-filled coil images; 0
            leaves the wavelets out. (Dar et al. take 1e-3 of a scale they do not state.)
        seed: of the random shifts.

    Returns:
        k-space of the same shape.

    Raises:
        CalibrationError: the projections diverge. G is no projection: a kernel calibrated with too little
            regularisation (much below 1e-2) has eigenvalues above one.
        InputError: shapes that do not fit.
    """
    problem = _Problem(kspace, sampled, kernel)
    mixing_op = CoilMixing(problem.matrices)
    image = problem.image(problem.data)
    threshold = regularisation * image.abs().amax(dim=(1, 2, 3), keepdim=True).unsqueeze(-1)
    wavelet = Wavelet((1, *image.shape[-2:]), dtype=image.real.dtype, device=image.device)
    shifts = np.random.default_rng(seed).integers(0, kspace.shape[-2:], size=(n_iterations, 2)).tolist()
    estimate = problem.estimate
    moved = []
    for number, shift in enumerate(shifts, start=1):
        last = estimate
        estimate = problem.with_data(mixing_op(problem.image(estimate)))
        if regularisation:
            image = problem.image(estimate).unsqueeze(-3)
            sparse = wavelet.shifted(problem.shift(shift)).soft_threshold(image, threshold, joint_axis=-4)
            estimate = problem.with_data(sparse.squeeze(-3))
        if number in (1, n_iterations):
            moved.append(torch.linalg.vector_norm(estimate - last, dim=(1, 2, 3)))
    scale = torch.linalg.vector_norm(problem.data, dim=(1, 2, 3))
    if moved and not bool((moved[-1] <= torch.maximum(moved[0], 0.01 * scale)).all()):
        raise CalibrationError(
            "l1_spirit: expected projections that converge, got ones that grow; calibrate with more "
            "regularisation or use cg_spirit"
        )
    return problem.kspace(estimate)


def _minus_identity(matrices: torch.Tensor) -> CoilMixing:
    """G − I."""
    matrices = matrices.clone()
    matrices.diagonal(dim1=-4, dim2=-3).sub_(1)
    return CoilMixing(matrices)


class _Problem:
    """The slices as the solvers work on them: no shifts, and no transforms along an axis always sampled.

    Along the axes on which the sampling varies, the origin of both spaces is the first sample, as the
    uncentred transform has it. A varying axis is last, where transforms are fastest. The other axis, if the
    sampling is constant along it, is in image space throughout, where G needs it and data consistency does
    not care. k-space here is that of the orthonormal transform over √N, N samples along the transformed
    axes, so that `image` needs no scale.
    """

    def __init__(self, kspace: torch.Tensor, sampled: torch.Tensor, kernel: torch.Tensor) -> None:
        _require_fitting(kspace, sampled, kernel)
        self.original, self.sampled = kspace, sampled.expand(kspace.shape[0], *kspace.shape[-2:])[:, None]
        varying = [axis for axis in (-2, -1) if _varies(sampled, axis)]
        self.swapped = varying == [-2]
        self.axes = (-2, -1) if len(varying) == 2 else (-1,)
        n_y, n_x = self._swapped(kspace).shape[-2:]
        self.matrices = spirit_matrices(self._swapped(kernel), (n_y, n_x), origin_first=self.axes)
        mask: torch.Tensor = torch.fft.ifftshift(self._swapped(self.sampled), dim=self.axes)
        self.n_samples = math.prod(mask.shape[axis] for axis in self.axes)
        self.estimate = self._uncentred(kspace)
        # Complex by complex is the faster product.
        self.data = self.estimate * mask.to(kspace.dtype)
        self.free = (~mask).to(kspace.dtype) / self.n_samples

    def image(self, estimate: torch.Tensor) -> torch.Tensor:
        """Coil images of a k-space."""
        image: torch.Tensor = torch.fft.ifftn(estimate, dim=self.axes, norm="forward")
        return image

    def with_data(self, image: torch.Tensor) -> torch.Tensor:
        """The k-space of coil images, the acquired samples replaced by the data."""
        return self.free_part(image).add_(self.data)

    def free_part(self, image: torch.Tensor) -> torch.Tensor:
        """The k-space of coil images where it was not acquired, zero where it was."""
        kspace: torch.Tensor = torch.fft.fftn(image, dim=self.axes)
        return kspace.mul_(self.free)

    def kspace(self, estimate: torch.Tensor) -> torch.Tensor:
        """(slice, coil, ky, kx), centred, with the acquired samples to the bit."""
        kspace = torch.fft.fftshift(estimate, dim=self.axes) * math.sqrt(self.n_samples)
        if self.axes == (-1,):
            kspace = fourier.fft(kspace, (-2,))
        return torch.where(self.sampled, self.original, self._swapped(kspace))

    def shift(self, pixels: Sequence[int]) -> tuple[int, int, int]:
        """(z, y, x) here for a shift along y and x of images whose origin is first along both."""
        along_y, along_x = pixels[::-1] if self.swapped else pixels
        n_y = self.matrices.shape[-2]
        return 0, along_y if -2 in self.axes else (along_y - n_y // 2) % n_y, along_x

    def _uncentred(self, kspace: torch.Tensor) -> torch.Tensor:
        kspace = self._swapped(kspace)
        if self.axes == (-1,):
            kspace = fourier.ifft(kspace, (-2,))
        uncentred: torch.Tensor = torch.fft.ifftshift(kspace, dim=self.axes)
        return uncentred / math.sqrt(self.n_samples)

    def _swapped(self, array: torch.Tensor) -> torch.Tensor:
        return array.transpose(-2, -1).contiguous() if self.swapped else array


def _varies(sampled: torch.Tensor, axis: int) -> bool:
    return bool((sampled != sampled.narrow(axis, 0, 1)).any())


def _require_fitting(kspace: torch.Tensor, sampled: torch.Tensor, kernel: torch.Tensor) -> None:
    n_slices, n_coils, *grid = kspace.shape
    fits = (
        kspace.ndim == 4
        and sampled.dtype == torch.bool
        and sampled.ndim == 3
        and list(sampled.shape[1:]) == grid
        and kernel.ndim == 5
        and kernel.shape[1:3] == (n_coils, n_coils)
        and {len(sampled), len(kernel)} <= {1, n_slices}
    )
    if not fits:
        raise InputError(
            "SPIRiT: expected k-space (slice, coil, ky, kx), boolean sampling (slice, ky, kx) and a kernel "
            f"(slice, coil, coil, ky, kx), got {tuple(kspace.shape)}, {sampled.dtype} {tuple(sampled.shape)} "
            f"and {tuple(kernel.shape)}; calibrate on the coils of this k-space"
        )
