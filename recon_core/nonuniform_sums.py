"""FINUFFT and cuFINUFFT: Fourier sums at points off the grid, the work inside `recon_core.nufft`.

Barnett et al. 2019, doi:10.1137/18M120885X; on CUDA Shih et al. 2021, doi:10.1109/IPDPSW52791.2021.00105.
"""

import math
from collections.abc import Sequence
from functools import cache
from types import ModuleType

import finufft
import torch

FORWARD, ADJOINT = 2, 1
"""FINUFFT's numbers for the transform from a grid, and for that to a grid."""
ACCURACY = {torch.complex64: 1e-7, torch.complex128: 1e-13}
"""By the dtype of the data. Computed in double precision all the same: coordinates in single precision alone
are wrong by more than 1e-5 on a matrix of 256, and with memory to wait for it takes about as long."""


class FinufftSums:
    """y_p = Σ_r x_r e^(−i p·r) and its adjoint on a CPU.

    Args:
        points: p, (point, axis) float64, in radians, axes in the order of `matrix`.
        matrix: of the images; the centre r = 0 of an axis is index n // 2.
        dtype: of images and samples.
    """

    def __init__(self, points: torch.Tensor, matrix: Sequence[int], dtype: torch.dtype) -> None:
        self.points = [along.contiguous().numpy() for along in points.unbind(-1)]
        self.matrix = tuple(matrix)
        self.accuracy = ACCURACY[dtype]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(image, *matrix) to (image, point)."""
        return self._transformed(images, FORWARD)

    def adjoint(self, samples: torch.Tensor) -> torch.Tensor:
        """(image, point) to (image, *matrix)."""
        return self._transformed(samples, ADJOINT)

    def _transformed(self, items: torch.Tensor, kind: int) -> torch.Tensor:
        # A thread for each item of a group, and all groups full: where threads share an item they add it up
        # in any order, and two runs differ in their last bits.
        n_groups = math.ceil(len(items) / torch.get_num_threads())
        n_threads = math.ceil(len(items) / n_groups)
        full = items.new_zeros((n_groups * n_threads, *items.shape[1:]), dtype=torch.complex128)
        full[: len(items)] = items
        plan = finufft.Plan(
            kind,
            self.matrix,
            len(full),
            self.accuracy,
            -1 if kind == FORWARD else 1,
            dtype="complex128",
            nthreads=n_threads,
            maxbatchsize=n_threads,
            spread_thread=2,
        )
        plan.setpts(*self.points)
        return torch.from_numpy(plan.execute(full.numpy())[: len(items)]).to(items.dtype)


class CufinufftSums:
    """The same on CUDA. Sums are added up in any order."""

    def __init__(self, points: torch.Tensor, matrix: Sequence[int], dtype: torch.dtype) -> None:
        self.points = [along.contiguous() for along in points.unbind(-1)]
        self.matrix = tuple(matrix)
        self.accuracy = ACCURACY[dtype]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(image, *matrix) to (image, point)."""
        return self._transformed(images, FORWARD, (len(self.points[0]),))

    def adjoint(self, samples: torch.Tensor) -> torch.Tensor:
        """(image, point) to (image, *matrix)."""
        return self._transformed(samples, ADJOINT, self.matrix)

    def _transformed(self, items: torch.Tensor, kind: int, result: tuple[int, ...]) -> torch.Tensor:
        module = cufinufft()
        assert module is not None
        plan = module.Plan(
            kind,
            self.matrix,
            len(items),
            self.accuracy,
            -1 if kind == FORWARD else 1,
            dtype="complex128",
            gpu_device_id=items.device.index,
        )
        plan.setpts(*self.points)
        results = items.new_empty((len(items), *result), dtype=torch.complex128)
        plan.execute(items.to(torch.complex128).contiguous(), out=results)
        return results.to(items.dtype)


@cache
def cufinufft() -> ModuleType | None:
    """The module; None where it, or the CUDA libraries that it was built for, cannot be loaded."""
    try:
        import cufinufft
    except (ImportError, OSError, RuntimeError):
        return None
    module: ModuleType = cufinufft
    return module
