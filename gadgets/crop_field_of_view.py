"""The image on the matrix and field of view that the protocol asks for."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace

import ismrmrd
import torch

from gadgets.encoding import Encoding
from gadgets.gadget import Context, Gadget
from gadgets.records import ImageSeries
from recon_core.fourier import fft, ifft, resize


class CropFieldOfView(Gadget, frozen=True):
    """Crop (or zero-pad) images to the header's reconstructed field of view, then interpolate to its matrix.

    Interpolation is zero-filling of k-space, which keeps intensities; the ringing it adds to a magnitude is
    kept from going below zero.
    """

    accepts = ImageSeries
    emits = ImageSeries

    def __call__(self, items: Iterable[ImageSeries], context: Context) -> Iterator[ImageSeries]:
        for series in items:
            wanted = Encoding.from_header(context.header, int(series.header["encoding_space_ref"]))
            yield _adjusted(series, wanted)


def _adjusted(series: ImageSeries, wanted: Encoding) -> ImageSeries:
    image, fov_mm = series.data, list(series.encoding.recon_fov_mm)
    for axis in range(3):
        dim = -1 - axis
        n, fov, wanted_fov = image.shape[dim], fov_mm[axis], wanted.recon_fov_mm[axis]
        if n == 1 or fov <= 0 or wanted_fov <= 0:
            continue
        n_cropped = max(1, round(n * wanted_fov / fov))
        image = _resized(image, dim, n_cropped)
        fov_mm[axis] = fov * n_cropped / n
        image = _interpolated(image, dim, wanted.recon_matrix[axis])
    if series.image_type == ismrmrd.IMTYPE_MAGNITUDE and image.is_floating_point():
        image = image.clamp(min=0)
    matrix = (image.shape[-1], image.shape[-2], image.shape[-3])
    encoding = replace(series.encoding, recon_matrix=matrix, recon_fov_mm=(fov_mm[0], fov_mm[1], fov_mm[2]))
    return replace(series, data=image, encoding=encoding)


def _resized(array: torch.Tensor, dim: int, n: int) -> torch.Tensor:
    return resize(array.movedim(dim, -1), (n,)).movedim(-1, dim)


def _interpolated(image: torch.Tensor, dim: int, n: int) -> torch.Tensor:
    if image.shape[dim] in (1, n):
        return image
    intensity = math.sqrt(n / image.shape[dim])
    is_real = not image.is_complex()
    numbers = image.float() if is_real and not image.is_floating_point() else image
    fine = ifft(_resized(fft(numbers, (dim,)), dim, n), (dim,)) * intensity
    return fine.real if is_real else fine
