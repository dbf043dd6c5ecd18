"""The normal operator of non-Cartesian sampling as a convolution by transforms of twice the size."""

from collections.abc import Sequence

import torch

from recon_core.errors import InputError
from recon_core.linop import LinearOperator

SPATIAL_AXES = (-3, -2, -1)


def doubled(shape: Sequence[int]) -> tuple[int, int, int]:
    """The grid (z, y, x) of a point spread function: twice the images', but for axes of length one."""
    z, y, x = (2 * n if n > 1 else 1 for n in shape)
    return z, y, x


def toeplitz_kernel(point_spread: torch.Tensor) -> torch.Tensor:
    """The transfer function, not centred, of a point spread function (*batch, 2z, 2y, 2x)."""
    axes = [axis for axis in SPATIAL_AXES if point_spread.shape[axis] > 1]
    kernel: torch.Tensor = torch.fft.fftn(torch.fft.ifftshift(point_spread, dim=axes), dim=axes)
    return kernel


class ToeplitzOperator(LinearOperator):
    """T x = crop(F⁻¹ K F pad(x)), to twice the size and back: x convolved with the spread of K = `kernel`.

    For FᴴWF of a trajectory this is exact, since it depends on differences of positions alone; its cost
    does not depend on the number of samples. Wajer & Pruessmann 2001 (ISMRM, p. 767); Fessler et al. 2005,
    doi:10.1109/TSP.2005.853152. `recon_core.nufft.Nufft.weighted_normal` makes it.

    Args:
        kernel: K, (*batch, 2z, 2y, 2x), axes of length one not doubled; real where T is its own adjoint.

    Images are (*batch, z, y, x), of which leading axes broadcast with the kernel's.
    Raises InputError where an image is not half the kernel's size.
    """

    def __init__(self, kernel: torch.Tensor) -> None:
        self.kernel = kernel
        self.shape = tuple(max(n // 2, 1) for n in kernel.shape[-3:])
        self.axes = [axis for axis in SPATIAL_AXES if kernel.shape[axis] > 1]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """T x."""
        return self._convolved(x, self.kernel)

    def adjoint(self, y: torch.Tensor) -> torch.Tensor:
        """Tᴴ y."""
        return self._convolved(y, self.kernel.conj())

    def _convolved(self, x: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
        if x.shape[-3:] != self.shape:
            raise InputError(
                f"Toeplitz: expected images (..., z, y, x) of {self.shape}, got {tuple(x.shape)}; make the "
                "kernel for this size"
            )
        # Axis by axis, so that what is all padding is never transformed.
        for axis in self.axes:
            x = torch.fft.fft(x, n=kernel.shape[axis], dim=axis)
        x = x * kernel
        for axis in reversed(self.axes):
            x = torch.fft.ifft(x, dim=axis).narrow(axis, 0, self.shape[axis])
        return x
