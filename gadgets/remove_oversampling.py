"""Readout oversampling."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import torch

from gadgets.gadget import Context, Gadget
from gadgets.records import KSpace
from recon_core.fourier import fft, ifft, resize

X_AXIS = (-1,)


class RemoveOversampling(Gadget, frozen=True):
    """Cut the field of view along the readout to the one wanted, in data and calibration alike.

    ``y = F crop F^-1 x`` along kx. Nothing happens where the encoded field of view is not larger than the
    reconstructed one.
    """

    accepts = KSpace
    emits = KSpace

    def __call__(self, items: Iterable[KSpace], context: Context) -> Iterator[KSpace]:
        for kspace in items:
            yield _without_oversampling(kspace)


def _without_oversampling(kspace: KSpace) -> KSpace:
    encoding = kspace.encoding
    encoded_fov_mm, wanted_fov_mm = encoding.encoded_fov_mm[0], encoding.recon_fov_mm[0]
    n_x = kspace.data.shape[-1]
    n_kept = round(n_x * wanted_fov_mm / encoded_fov_mm) if encoded_fov_mm > 0 else n_x
    if not 0 < n_kept < n_x:
        return kspace
    calibration = kspace.calibration
    if calibration is not None:
        n_calibration = round(calibration.shape[-1] * n_kept / n_x)
        calibration = _cropped(calibration, max(n_calibration, 1))
    data, sampled = _cropped(kspace.data, n_kept), _thinned(kspace.sampled, n_kept)
    if not torch.equal(sampled.any(-1), sampled.all(-1)):
        data = data * sampled  # cropping spreads an asymmetric echo over the samples it lacks
    narrowed = replace(
        encoding,
        encoded_matrix=(n_kept, *encoding.encoded_matrix[1:]),
        encoded_fov_mm=(encoded_fov_mm * n_kept / n_x, *encoding.encoded_fov_mm[1:]),
    )
    return replace(kspace, data=data, sampled=sampled, calibration=calibration, encoding=narrowed)


def _cropped(data: torch.Tensor, n_kept: int) -> torch.Tensor:
    return fft(resize(ifft(data, X_AXIS), (n_kept,)), X_AXIS)


def _thinned(sampled: torch.Tensor, n_kept: int) -> torch.Tensor:
    """The mask on the coarser kx steps that go with the smaller field of view."""
    n_x = sampled.shape[-1]
    steps = torch.arange(n_kept, device=sampled.device) - n_kept // 2
    nearest = torch.round(steps * (n_x / n_kept)).long() + n_x // 2
    return sampled[..., nearest.clamp(0, n_x - 1)]
