"""Reconstructions by SPIRiT: k-space that agrees with its own calibration and with what was acquired.

Lustig & Pauly 2010, doi:10.1002/mrm.22428. G is the operator of `recon_core.spirit_operator`, in its image
space form.
"""

import math

import torch

from recon_core import fourier
from recon_core.errors import InputError
from recon_core.spirit_operator import CoilMixing, spirit_matrices


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
        mask = torch.fft.ifftshift(self._swapped(self.sampled), dim=self.axes)
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
        kspace = torch.fft.fftn(image, dim=self.axes)
        replaced: torch.Tensor = torch.addcmul(self.data, kspace, self.free)
        return replaced

    def kspace(self, estimate: torch.Tensor) -> torch.Tensor:
        """(slice, coil, ky, kx), centred, with the acquired samples to the bit."""
        kspace = torch.fft.fftshift(estimate, dim=self.axes) * math.sqrt(self.n_samples)
        if self.axes == (-1,):
            kspace = fourier.fft(kspace, (-2,))
        return torch.where(self.sampled, self.original, self._swapped(kspace))

    def _uncentred(self, kspace: torch.Tensor) -> torch.Tensor:
        kspace = self._swapped(kspace)
        if self.axes == (-1,):
            kspace = fourier.ifft(kspace, (-2,))
        return torch.fft.ifftshift(kspace, dim=self.axes) / math.sqrt(self.n_samples)

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
