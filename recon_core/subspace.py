"""Image series in a temporal subspace: the encoding operator, its normal form, and the backprojection.

An image series A = U Φ, (voxel, frame), has L feature maps U and a temporal basis Φ (L, frame). Here Φ is
given at the readouts, one column each, so that no frame is ever made. Liang 2007 (ISBI, p. 988),
doi:10.1109/ISBI.2007.357020; Christodoulou et al. 2018, doi:10.1038/s41551-018-0217-y.
"""

from __future__ import annotations

from functools import cached_property

import torch

from recon_core.coils.combine import sense_combine
from recon_core.errors import InputError
from recon_core.feature_kernel import KernelSums
from recon_core.feature_sums import FeatureSums, require_fitting
from recon_core.linop import LinearOperator
from recon_core.nufft import Nufft, Shape
from recon_core.rotated_readouts import rotated_readouts
from recon_core.solve.sigpy_nufft import sigpy_feature_images


class SubspaceOperator(LinearOperator):
    """Feature maps to readouts: E(U)_cr = Σ_l φ_l(r) F_r S_c U_l, F_r the non-uniform transform to readout r.

    Args:
        trajectory: (readout, sample, 2 or 3), cycles per field of view.
        basis: Φ at the readouts, (L, readout), real or complex.
        coil_maps: S, (coil, z, y, x).

    Feature maps are (L, z, y, x), data (coil, readout, sample). Golden-angle readouts, many times more than
    an image needs, are first summed at regular angles, where adjoint and normal are within 2e-5 of the sums
    (`recon_core.rotated_readouts`).

    Raises:
        InputError: shapes or dtypes that do not fit.
    """

    def __init__(self, trajectory: torch.Tensor, basis: torch.Tensor, coil_maps: torch.Tensor) -> None:
        _require_maps(coil_maps)
        self.trajectory, self.basis, self.coil_maps = trajectory, basis, coil_maps
        self.shape = _shape(coil_maps)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """E(U), a transform for each coefficient and coil: for tests and simulations."""
        nufft_op = Nufft(self.trajectory, self.shape, dtype=x.dtype)
        return sum(
            (
                row[:, None] * nufft_op(self.coil_maps * feature_map)
                for row, feature_map in zip(self.basis, x, strict=True)
            ),
            start=x.new_zeros(len(self.coil_maps), *self.trajectory.shape[:2]),
        )

    def adjoint(self, y: torch.Tensor) -> torch.Tensor:
        """Eᴴ d, without density compensation."""
        images = feature_images(y, self.trajectory, self.basis, self.shape)
        combined: torch.Tensor = torch.linalg.vecdot(self.coil_maps.expand_as(images), images, dim=1)
        return combined

    @cached_property
    def normal(self) -> LinearOperator:
        """EᴴE as L × L convolutions, whose cost does not depend on the number of frames or readouts."""
        sums = KernelSums(self.shape, rotated_readouts(self.trajectory, self.shape))
        sums.add(self.trajectory, self.basis)
        return SubspaceNormal(sums.kernel(), self.coil_maps)


class SubspaceNormal(LinearOperator):
    """EᴴWE: Σ_c S_cᴴ T_lm S_c U_m, with the convolutions T_lm given by their kernels.

    Zero-padding to the doubled grid and sampling its transform at the even or the odd indices is a transform
    of the undoubled size of the image times e^(−πi r/n): each parity is a problem of its own, the phase
    joins the coil maps, and nothing is padded. L = 32 at 160² has a kernel of 420 MB, real.

    Args:
        kernel: (parity, z, y, x, L, L), Hermitian, as `recon_core.feature_kernel` makes it.
        coil_maps: S, (coil, z, y, x).
    """

    def __init__(self, kernel: torch.Tensor, coil_maps: torch.Tensor) -> None:
        _require_maps(coil_maps)
        if kernel.ndim != 6 or kernel.shape[1:4] != coil_maps.shape[1:]:
            raise InputError(
                f"subspace: expected a kernel (parity, z, y, x, L, L) of the coil maps' "
                f"{tuple(coil_maps.shape[1:])}, got {tuple(kernel.shape)}; use maps of this matrix"
            )
        self.kernel = kernel
        self.axes = [axis for axis in range(3) if coil_maps.shape[1 + axis] > 1]
        self.maps = [phase * coil_maps.movedim(0, -1) for phase in _parity_phases(coil_maps)]
        """(z, y, x, coil) for each parity."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """EᴴWE U, of (L, z, y, x)."""
        maps_last = x.movedim(0, -1).contiguous()
        result = torch.zeros_like(maps_last)
        for kernel, coil_maps in zip(self.kernel, self.maps, strict=True):
            coil_images = maps_last[..., None] * coil_maps[..., None, :]
            transformed = torch.fft.fftn(coil_images, dim=self.axes)
            convolved = torch.fft.ifftn(_multiplied(kernel, transformed), dim=self.axes)
            result += torch.linalg.vecdot(coil_maps[..., None, :].expand_as(convolved), convolved)
        return result.movedim(-1, 0).div_(len(self.kernel)).contiguous()

    def adjoint(self, y: torch.Tensor) -> torch.Tensor:
        return self.forward(y)


def feature_images(
    kspace: torch.Tensor, trajectory: torch.Tensor, basis: torch.Tensor, shape: Shape
) -> torch.Tensor:
    """F_NUᴴ Ω*(d) Φᴴ, (L, coil, z, y, x), of data (coil, readout, sample)."""
    sums = FeatureSums(shape, rotated_readouts(trajectory, shape))
    sums.add(kspace, trajectory, basis)
    return sums.images()


def subspace_backprojection(
    kspace: torch.Tensor,
    trajectory: torch.Tensor,
    basis: torch.Tensor,
    coil_maps: torch.Tensor,
    *,
    weights: torch.Tensor | None = None,
    backend: str = "torch",
) -> torch.Tensor:
    """Data projected back into the temporal feature space: U₀ = S⁺ F_NUᴴ W Ω*(d) Φᴴ.

    The input of the networks of the feature space, and the density-compensated right-hand side of the
    iterative reconstructions there. S⁺ is the least-squares combination of the coils.

    Args:
        kspace: d, (coil, readout, sample).
        trajectory: (readout, sample, 2 or 3), cycles per field of view.
        basis: Φ at the readouts, (L, readout).
        coil_maps: S, (coil, z, y, x).
        weights: W, density compensation that broadcasts to (readout, sample); ones if None.
        backend: "torch", or "sigpy" for the transforms by `sigpy.nufft_adjoint` (CPU).

    Returns:
        U₀, (L, z, y, x), complex; zero outside the coil maps.

    Raises:
        InputError: shapes or dtypes that do not fit, or an unknown backend.
    """
    require_fitting(kspace, trajectory, basis)
    _require_maps(coil_maps)
    compensated = kspace if weights is None else kspace * weights
    shape = _shape(coil_maps)
    if backend == "sigpy":
        images = sigpy_feature_images(compensated, trajectory, basis, shape)
    elif backend == "torch":
        images = feature_images(compensated, trajectory, basis, shape)
    else:
        raise InputError(f"subspace: expected backend 'torch' or 'sigpy', got '{backend}'; name one of them")
    return sense_combine(images, coil_maps)


def _multiplied(kernel: torch.Tensor, transformed: torch.Tensor) -> torch.Tensor:
    """Σ_m K_lm x_m at each sample: (z, y, x, L, L) and (z, y, x, L, coil)."""
    if kernel.is_complex():
        return torch.matmul(kernel, transformed)
    planes = torch.view_as_real(transformed).flatten(-2)
    return torch.view_as_complex(torch.matmul(kernel, planes).reshape(*transformed.shape, 2))


def _parity_phases(like: torch.Tensor) -> list[torch.Tensor]:
    """e^(−πi Σ p r/n) as (z, y, x, 1) for each parity p of the doubled grid, in the kernel's order."""
    phases = [like.new_ones(1, 1, 1, 1)]
    for axis, n in enumerate(like.shape[1:]):
        if n == 1:
            continue
        angle_rad = -torch.pi * torch.arange(n, dtype=torch.float64, device=like.device) / n
        odd = torch.polar(torch.ones_like(angle_rad), angle_rad).to(like.dtype)
        odd = odd.reshape([n if a == axis else 1 for a in range(4)])
        phases = [each for phase in phases for each in (phase, phase * odd)]
    return phases


def _shape(coil_maps: torch.Tensor) -> Shape:
    z, y, x = coil_maps.shape[1:]
    return z, y, x


def _require_maps(coil_maps: torch.Tensor) -> None:
    if coil_maps.ndim != 4 or not coil_maps.is_complex():
        raise InputError(
            f"subspace: expected complex coil maps (coil, z, y, x), got {coil_maps.dtype} "
            f"{tuple(coil_maps.shape)}; give one set of maps, with z = 1 in 2-D"
        )
