"""The centred, orthonormal discrete Fourier transform, and resizing about its centre."""

import cmath
import math
from collections.abc import Sequence
from functools import lru_cache

import torch

SPATIAL_AXES = (-3, -2, -1)


def fft(image: torch.Tensor, axes: Sequence[int] = SPATIAL_AXES) -> torch.Tensor:
    """Image to k-space: ``fftshift(fft(ifftshift(image)))`` with orthonormal scaling.

    The centre of an axis of length n, odd or even, is index n // 2. Axes of length one are left alone.
    """
    axes = _longer_than_one(image, axes)
    if not axes:
        return image
    modulation, centre = _modulation(image, axes)
    kspace: torch.Tensor = torch.fft.fftn(image * modulation, dim=axes)
    return kspace.mul_(modulation * centre)


def ifft(kspace: torch.Tensor, axes: Sequence[int] = SPATIAL_AXES) -> torch.Tensor:
    """k-space to image, the inverse (and adjoint) of `fft`."""
    axes = _longer_than_one(kspace, axes)
    if not axes:
        return kspace
    modulation, centre = _modulation(kspace, axes)
    modulation = modulation.conj_physical()
    image: torch.Tensor = torch.fft.ifftn(kspace * modulation, dim=axes, norm="forward")
    return image.mul_(modulation * centre.conjugate())


def shift_phases(steps: torch.Tensor, n: int, like: torch.Tensor) -> torch.Tensor:
    """What shifting k-space does to the image: y(k + step) is the k-space of x(r)·e^(−2πi·step·r/n).

    (step, r), r from −(n // 2), of the dtype and on the device of `like`.
    """
    positions = torch.arange(n, device=like.device) - n // 2
    angle_rad = -2 * torch.pi * (steps[:, None] * positions).to(torch.float64) / n
    return torch.polar(torch.ones_like(angle_rad), angle_rad).to(like.dtype)


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


def resampled(image: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """The image on another grid of the same field of view, along its trailing axes, by its Fourier transform.

    Band-limited where the grid is coarser, interpolated where it is finer; intensities stay. Complex.
    """
    axes = range(-len(shape), 0)
    scale = math.sqrt(math.prod(n / image.shape[axis] for axis, n in zip(axes, shape, strict=True)))
    return ifft(resize(fft(image, axes), shape), axes) * scale


def _modulation(array: torch.Tensor, axes: Sequence[int]) -> tuple[torch.Tensor, complex]:
    """Phases that shift the other domain, ``exp(2πi r c / n)`` for centre c, and the constant between them.

    From ``(k − c)(r − c) = kr − kc − rc + c²`` in the exponent. Multiplying by phases, ±1 for even lengths,
    takes less time than moving samples about. The constant holds the orthonormal scale too: torch scales
    a single complex64 image of 2048 x 2048 wrongly (2.13, CPU).
    """
    dtype = array.dtype.to_complex()
    modulation = torch.ones((), dtype=dtype, device=array.device)
    centre = complex(1)
    for axis in axes:
        length = array.shape[axis]
        along = _phases(length, dtype, array.device)
        n_axes_behind = -axis - 1 if axis < 0 else array.ndim - axis - 1
        modulation = modulation * along.reshape(-1, *[1] * n_axes_behind)
        centre *= cmath.exp(-2j * math.pi * (length // 2) ** 2 / length) / math.sqrt(length)
    return modulation, centre


@lru_cache(maxsize=64)
def _phases(length: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    with torch.inference_mode(mode=False):  # what is kept has to serve training too
        turns = torch.arange(length, dtype=torch.float64) * (length // 2) % length / length
        return torch.exp(2j * math.pi * turns).to(device, dtype)


def _longer_than_one(array: torch.Tensor, axes: Sequence[int]) -> tuple[int, ...]:
    return tuple(axis for axis in axes if array.shape[axis] > 1)
