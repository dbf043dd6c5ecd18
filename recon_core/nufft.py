"""The non-uniform Fourier transform: images to samples anywhere in k-space, and back."""

import math
from collections.abc import Callable
from functools import cached_property
from itertools import product
from typing import Any, Literal

import torch

from recon_core.errors import InputError
from recon_core.gridding import GriddingSums
from recon_core.linop import LinearOperator
from recon_core.nonuniform_sums import CufinufftSums, FinufftSums, cufinufft
from recon_core.toeplitz import ToeplitzOperator, doubled, toeplitz_kernel

Shape = tuple[int, int, int]
Backend = Literal["auto", "torch"]
Map = Callable[[torch.Tensor], torch.Tensor]
Sums = FinufftSums | CufinufftSums | GriddingSums


class Nufft(LinearOperator):
    """Image to non-Cartesian k-space: y_j = 1/√n Σ_r x_r e^(−2πi k_j·r/n), r from −(n // 2) along each axis.

    The scale is that of the orthonormal transform: on a Cartesian trajectory it is `recon_core.fourier.fft`.
    Barnett et al. 2019, doi:10.1137/18M120885X (FINUFFT); on a CPU within 1e-6 of the sum in complex64, 1e-12
    in complex128. Derivatives with respect to what it is applied to are by `adjoint`; there are none with
    respect to the trajectory.

    Args:
        trajectory: k, (*frames, readout, sample, 2 or 3), last axis (kx, ky[, kz]) in cycles per field of
            view, ±n/2. The operator is on its device.
        shape: (z, y, x) of the images; along an axis of length one k does not matter.
        dtype: of images and samples, complex64 or complex128.
        backend: "auto" is FINUFFT on a CPU, and on CUDA cuFINUFFT where it can be loaded; "torch", and "auto"
            elsewhere, is `GriddingSums`, to 1e-6 in complex128 too.

    Images are (*batch, z, y, x), samples (*batch, readout, sample). `frames` broadcasts to the last axes of
    `batch`: a trajectory (frame, 1, readout, sample, 3) does for images (frame, coil, z, y, x).

    On a CPU results are the same bit for bit whatever the number of threads; on CUDA sums are in any order.

    Raises:
        InputError: shapes or dtypes that do not fit, or a trajectory that is not finite.
    """

    def __init__(
        self,
        trajectory: torch.Tensor,
        shape: Shape,
        *,
        dtype: torch.dtype = torch.complex64,
        backend: Backend = "auto",
    ) -> None:
        axes = [axis for axis in (-3, -2, -1) if shape[axis] > 1] or [-1]
        n_columns = max(-axes[0], 2)
        if trajectory.ndim < 3 or not n_columns <= trajectory.shape[-1] <= 3:
            raise InputError(
                f"NUFFT: expected a trajectory (readout, sample, {n_columns} or more) for images of "
                f"{tuple(shape)}, got {tuple(trajectory.shape)}; give kx, ky[, kz] along its last axis"
            )
        if not bool(torch.isfinite(trajectory).all()):
            raise InputError("NUFFT: expected a finite trajectory, got NaN or Inf; leave those samples out")
        if dtype not in (torch.complex64, torch.complex128):
            raise InputError(f"NUFFT: expected complex64 or complex128, got {dtype}; convert the data")
        self.trajectory, self.shape, self.dtype, self.backend = trajectory, shape, dtype, backend
        self.frames = trajectory.shape[:-3]
        self.scale = 1 / math.sqrt(math.prod(shape))
        self.matrix = tuple(shape[axis] for axis in axes)
        per_cycle = torch.tensor([2 * math.pi / n for n in self.matrix], dtype=torch.float64)
        points = trajectory[..., [-1 - axis for axis in axes]] * per_cycle.to(trajectory.device)
        sums = _sums_class(backend, trajectory.device)
        n_points = math.prod(trajectory.shape[-3:-1])
        self.sums: list[Sums] = [
            sums(of_frame, self.matrix, dtype)
            for of_frame in points.reshape(math.prod(self.frames), n_points, len(axes))
        ]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """F x."""
        self._check(x, "images (..., z, y, x)", self.shape)
        return _linear(x, self._samples, self._images)

    def adjoint(self, y: torch.Tensor) -> torch.Tensor:
        """Fᴴ y: no density compensation."""
        self._check(y, "samples (..., readout, sample)", tuple(self.trajectory.shape[-3:-1]))
        return _linear(y, self._images, self._samples)

    @cached_property
    def normal(self) -> ToeplitzOperator:
        """FᴴF as a convolution."""
        return self.weighted_normal(torch.ones(self.trajectory.shape[:-1], device=self.trajectory.device))

    def weighted_normal(self, weights: torch.Tensor) -> ToeplitzOperator:
        """FᴴWF as a convolution, for weights (*batch, readout, sample): one kernel for each of the batch.

        The kernel of real weights is real. Fessler et al. 2005, doi:10.1109/TSP.2005.853152.
        """
        shape = doubled(self.shape)
        enlarged = self.trajectory.new_tensor([m / n for m, n in zip(shape, self.shape, strict=True)][::-1])
        finer_op = Nufft(
            self.trajectory * enlarged[: self.trajectory.shape[-1]],
            shape,
            dtype=self.dtype,
            backend=self.backend,
        )
        spread = finer_op.H(weights.to(self.dtype)) * (self.scale**2 / finer_op.scale)
        kernel = toeplitz_kernel(spread)
        # The spread of real weights is its own conjugate mirrored, but at the one edge that is never used.
        return ToeplitzOperator(kernel if weights.is_complex() else kernel.real.contiguous())

    def _samples(self, images: torch.Tensor) -> torch.Tensor:
        shape = tuple(self.trajectory.shape[-3:-1])
        return self._each(lambda sums: sums.forward, images, 3, self.matrix, shape)

    def _images(self, samples: torch.Tensor) -> torch.Tensor:
        n_points = math.prod(self.trajectory.shape[-3:-1])
        return self._each(lambda sums: sums.adjoint, samples, 2, (n_points,), self.shape)

    def _each(
        self,
        method: Callable[[Sums], Map],
        items: torch.Tensor,
        n_item_axes: int,
        item_shape: tuple[int, ...],
        result_shape: tuple[int, ...],
    ) -> torch.Tensor:
        """The sums of each frame on the items of the batch that belong to it, orthonormal."""
        batch = items.shape[: items.ndim - n_item_axes]
        frames = (1,) * (len(batch) - len(self.frames)) + self.frames
        results = items.new_empty(*batch, *result_shape)
        for frame, sums in zip(product(*map(range, frames)), self.sums, strict=True):
            which = tuple(slice(None) if n == 1 else i for i, n in zip(frame, frames, strict=True))
            own = items[which].resolve_conj()
            result = method(sums)(own.reshape(math.prod(own.shape[:-n_item_axes]), *item_shape))
            results[which] = result.mul_(self.scale).reshape(results[which].shape)
        return results

    def _check(self, items: torch.Tensor, what: str, ends_in: tuple[int, ...]) -> None:
        batch = items.shape[: max(items.ndim - len(ends_in), 0)]
        aligned = zip(reversed(self.frames), reversed(batch), strict=False)
        fits = len(batch) >= len(self.frames) and all(n in (1, length) for n, length in aligned)
        if items.dtype != self.dtype or items.shape[len(batch) :] != ends_in or not fits:
            raise InputError(
                f"NUFFT: expected {self.dtype} {what} ({', '.join(map(str, (*self.frames, *ends_in)))}) with "
                f"any axes before them, got {items.dtype} {tuple(items.shape)}; use these data's own "
                "trajectory and matrix"
            )


class _Linear(torch.autograd.Function):
    """A linear map given as a function, whose derivative is its adjoint."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, apply: Map, adjoint: Map) -> torch.Tensor:
        ctx.maps = apply, adjoint
        return apply(x)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        apply, adjoint = ctx.maps
        return _linear(gradients[0], adjoint, apply), None, None


def _linear(x: torch.Tensor, apply: Map, adjoint: Map) -> torch.Tensor:
    result: torch.Tensor = _Linear.apply(x, apply, adjoint)  # type: ignore[no-untyped-call]
    return result


def _sums_class(backend: Backend, device: torch.device) -> type[Sums]:
    if backend == "torch":
        return GriddingSums
    if device.type == "cuda":
        return CufinufftSums if cufinufft() else GriddingSums
    return FinufftSums
