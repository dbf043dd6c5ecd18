"""An orthogonal wavelet transform of images, for real and complex tensors on any device."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch

from recon_core.linop import LinearOperator
from recon_core.wavelet_level import Level, wavelet_level

SPATIAL_AXES = (-3, -2, -1)


class Wavelet(LinearOperator):
    """Image to wavelet coefficients of the same shape: W, with WᴴW = WWᴴ = 1 for any size.

    The periodised, separable multi-level transform of Mallat 1989, doi:10.1109/34.192463, with filters from
    PyWavelets. Each axis goes through the levels PyWavelets recommends for its length: none below twice the
    filter's support, so that a 2-D image (z = 1) is transformed in y and x only.

    Coefficients lie as in `pywt.coeffs_to_array`: along each axis, low-pass first, the level below inside it.
    Where a length is odd its last sample is kept untransformed behind the high-pass coefficients, which keeps
    the transform orthogonal (PyWavelets repeats the sample instead, and returns one coefficient more).

    Args:
        shape: (z, y, x) of the images; leading axes are a batch.
        dtype: of the images or of their real part; float32 or float64.
        device: of the images.
        name: an orthogonal wavelet of PyWavelets; "db4" has eight taps and four vanishing moments.
    """

    def __init__(
        self,
        shape: Sequence[int],
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        name: str = "db4",
    ) -> None:
        self.levels: list[dict[int, Level]] = []
        """For each level, finest first, the transform along each axis that has this level."""
        self.blocks = [tuple(shape)]
        """The shape of the low-pass block each level starts from."""
        self.shift = (0, 0, 0)
        n_levels = {axis: _n_levels(shape[axis], name) for axis in SPATIAL_AXES}
        for level in range(max(n_levels.values())):
            block = self.blocks[-1]
            axes = [axis for axis in SPATIAL_AXES if level < n_levels[axis]]
            self.levels.append({axis: wavelet_level(block[axis], name, dtype, device) for axis in axes})
            self.blocks.append(
                tuple(block[axis] // 2 if axis in axes else block[axis] for axis in SPATIAL_AXES)
            )

    def shifted(self, shift: Sequence[int]) -> Wavelet:
        """The transform of the image rolled by `shift` (z, y, x) along the axes it transforms."""
        moved = copy.copy(self)
        moved.shift = (shift[0], shift[1], shift[2])
        return moved

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """W x."""
        return _from_planes(self._analyse(_to_planes(x)))

    def adjoint(self, y: torch.Tensor) -> torch.Tensor:
        """Wᴴ y, which is the inverse."""
        return _from_planes(self._synthesise(_to_planes(y)))

    def soft_threshold(
        self, x: torch.Tensor, threshold: torch.Tensor | float, joint_axis: int | None = None
    ) -> torch.Tensor:
        """The proximal map of ``threshold · ‖W x‖₁``: Wᴴ of W x with every magnitude reduced by `threshold`.

        `threshold` is one number, or a tensor that broadcasts to x. With a `joint_axis`, counted from the
        end, the magnitude is the root of the sum of squares along it: what is sparse in one coil is in all.
        """
        planes = self._analyse(_to_planes(x))
        if joint_axis is not None:
            power: torch.Tensor = torch.linalg.vecdot(planes, planes, dim=joint_axis)
            magnitude = power.sum(0).sqrt_().unsqueeze(joint_axis)
        else:
            magnitude = torch.hypot(*planes) if len(planes) == 2 else planes[0].abs()
        smallest = torch.finfo(magnitude.dtype).tiny
        planes.mul_((magnitude - threshold).clamp_min_(0).div_(magnitude.clamp_min_(smallest)))
        return _from_planes(self._synthesise(planes))

    def _analyse(self, planes: torch.Tensor) -> torch.Tensor:
        for number, level in enumerate(self.levels):
            block = self._block(planes, number)
            transformed = block
            for axis, along in level.items():
                transformed = along.analyse(transformed, axis, 0 if number else self.shift[axis])
            planes = _replaced(planes, block, transformed)
        return planes

    def _synthesise(self, planes: torch.Tensor) -> torch.Tensor:
        for number, level in reversed(list(enumerate(self.levels))):
            block = self._block(planes, number)
            transformed = block
            for axis, along in level.items():
                transformed = along.synthesise(transformed, axis, 0 if number else self.shift[axis])
            planes = _replaced(planes, block, transformed)
        return planes

    def _block(self, planes: torch.Tensor, level: int) -> torch.Tensor:
        nz, ny, nx = self.blocks[level]
        return planes[..., :nz, :ny, :nx]


def _replaced(planes: torch.Tensor, block: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """`planes` with its part `block` overwritten; `values` themselves where that part is the whole."""
    if block.shape == planes.shape:
        return values
    block.copy_(values)
    return planes


def _to_planes(image: torch.Tensor) -> torch.Tensor:
    """Real and imaginary part as separate planes along a new first axis: a copy, never a view."""
    return torch.stack([image.real, image.imag] if image.is_complex() else [image])


def _from_planes(planes: torch.Tensor) -> torch.Tensor:
    return torch.complex(planes[0], planes[1]) if len(planes) == 2 else planes[0]


def _n_levels(length: int, name: str) -> int:
    import pywt

    wavelet = pywt.Wavelet(name)
    return int(pywt.dwt_max_level(length, wavelet.dec_len))
