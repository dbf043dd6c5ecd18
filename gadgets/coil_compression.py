"""Fewer, virtual receiver channels."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import Literal

import torch

from gadgets.calibration import PerSlice, calibration_of, is_silent
from gadgets.gadget import Context, Gadget
from gadgets.records import AnyKSpace, KSpace, NonCartesianKSpace
from recon_core.coils.compression import apply_coil_matrix, geometric_compression, svd_compression
from recon_core.fourier import resize

N_LINES = 48
"""Central lines used along ky and kz."""


class CoilCompression(Gadget, frozen=True):
    """Compress the receiver channels to `n_coils` virtual ones, data and calibration alike.

    Calibrated on the reference lines or, without any, on the fully sampled centre; off the grid on all
    samples, always by `svd`. Fewer physical channels pass unchanged. Zhang et al. 2013,
    doi:10.1002/mrm.24267 (geometric); Buehrer et al. 2007, doi:10.1002/mrm.21237 (svd).
    """

    accepts = AnyKSpace
    emits = AnyKSpace

    n_coils: int = 8
    """Virtual channels to keep."""
    method: Literal["svd", "geometric"] = "geometric"
    """`svd`: one matrix for all of k-space; `geometric`: one for every position along the readout."""

    def __call__(self, items: Iterable[AnyKSpace], context: Context) -> Iterator[AnyKSpace]:
        matrices: PerSlice[torch.Tensor] = PerSlice()
        for kspace in items:
            if len(kspace.data) <= self.n_coils:
                yield kspace
                continue
            if isinstance(kspace, NonCartesianKSpace):
                yield _compressed_off_grid(kspace, self.n_coils)
                continue
            if is_silent(kspace):
                calibration = kspace.calibration[: self.n_coils] if kspace.calibration is not None else None
                yield replace(kspace, data=kspace.data[: self.n_coils], calibration=calibration)
                continue
            calibration = _central_lines(calibration_of(kspace))
            n_x = kspace.data.shape[-1]
            matrix = matrices.get(kspace, calibration, partial(self._matrix, calibration, n_x), n_x)
            yield _compressed(kspace, matrix)

    def _matrix(self, calibration: torch.Tensor, n_x: int) -> torch.Tensor:
        if self.method == "svd":
            return svd_compression(calibration, self.n_coils)
        return geometric_compression(calibration, self.n_coils, n_x)


def _central_lines(calibration: torch.Tensor) -> torch.Tensor:
    """The lines that hold nearly all of the signal."""
    n_z, n_y, n_x = calibration.shape[1:]
    return resize(calibration, (min(n_z, N_LINES), min(n_y, N_LINES), n_x))


def _compressed_off_grid(kspace: NonCartesianKSpace, n_coils: int) -> NonCartesianKSpace:
    if is_silent(kspace):
        return replace(kspace, data=kspace.data[:n_coils])
    samples = kspace.data.unsqueeze(1)
    matrix = svd_compression(samples, n_coils)
    return replace(kspace, data=apply_coil_matrix(matrix, samples).squeeze(1))


def _compressed(kspace: KSpace, matrix: torch.Tensor) -> KSpace:
    data = apply_coil_matrix(matrix, kspace.data) * kspace.sampled
    calibration = kspace.calibration
    if calibration is not None:
        n_x = calibration.shape[-1]
        whole = resize(calibration, (kspace.data.shape[-1],)) if matrix.ndim == 3 else calibration
        calibration = resize(apply_coil_matrix(matrix, whole), (n_x,))
    return replace(kspace, data=data, calibration=calibration)
