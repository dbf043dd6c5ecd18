"""The centred, orthonormal discrete Fourier transform, and resizing about its centre."""

from collections.abc import Sequence

import torch

SPATIAL_AXES = (-3, -2, -1)


def fft(image: torch.Tensor, axes: Sequence[int] = SPATIAL_AXES) -> torch.Tensor:
    """Image to k-space: ``fftshift(fft(ifftshift(image)))`` with orthonormal scaling.

    The centre of an axis of length n, odd or even, is index n // 2. Axes of length one are left alone.
    """
    axes = _longer_than_one(image, axes)
    if not axes:
        return image
    shifted = torch.fft.ifftshift(image, dim=axes)
    return torch.fft.fftshift(torch.fft.fftn(shifted, dim=axes, norm="ortho"), dim=axes)


def ifft(kspace: torch.Tensor, axes: Sequence[int] = SPATIAL_AXES) -> torch.Tensor:
    """k-space to image, the inverse (and adjoint) of `fft`."""
    axes = _longer_than_one(kspace, axes)
    if not axes:
        return kspace
    shifted = torch.fft.ifftshift(kspace, dim=axes)
    return torch.fft.fftshift(torch.fft.ifftn(shifted, dim=axes, norm="ortho"), dim=axes)


def resize(array: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """Crop or zero-pad the trailing axes to `shape`, keeping index n // 2 at index m // 2."""
    for axis, wanted in zip(range(-len(shape), 0), shape, strict=True):
        length = array.shape[axis]
        start = length // 2 - wanted // 2
        if start >= 0 and start + wanted <= length:
            array = array.narrow(axis, start, wanted)
            continue
        padded_shape = list(array.shape)
        padded_shape[axis] = wanted
        padded = array.new_zeros(padded_shape)
        n_kept = min(length, wanted)
        kept_from, kept_to = max(start, 0), max(-start, 0)
        padded.narrow(axis, kept_to, n_kept).copy_(array.narrow(axis, kept_from, n_kept))
        array = padded
    return array


def _longer_than_one(array: torch.Tensor, axes: Sequence[int]) -> tuple[int, ...]:
    return tuple(axis for axis in axes if array.shape[axis] > 1)
