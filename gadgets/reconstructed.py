"""From the record of a k-space to the record of its image."""

from dataclasses import replace

import ismrmrd
import torch

from gadgets.records import AnyKSpace, ImageSeries, KSpace

METHOD = "Reconstream.Reconstruction"
"""Meta key of how an image was reconstructed."""
ACCELERATION = "Reconstream.Acceleration"
"""Meta key of how many samples there are in the outline of those acquired, over these."""


def reconstructed(kspace: AnyKSpace, image: torch.Tensor, method: str, *notes: str) -> ImageSeries:
    """An image `(channel, z, y, x)` of a k-space, with the k-space's header, notes and field of view."""
    _, n_z, n_y, n_x = image.shape
    encoding, acquired = kspace.encoding, None
    meta: dict[str, str | list[str]] = {METHOD: method}
    if isinstance(kspace, KSpace):
        acquired = outline(kspace.sampled)
        acceleration = kspace.sampled[acquired].numel() / int(kspace.sampled.sum())
        meta[ACCELERATION] = f"{acceleration:.4g}"
    return ImageSeries(
        data=image,
        header=kspace.header,
        encoding=replace(encoding, recon_matrix=(n_x, n_y, n_z), recon_fov_mm=encoding.encoded_fov_mm),
        image_type=ismrmrd.IMTYPE_COMPLEX if image.is_complex() else ismrmrd.IMTYPE_MAGNITUDE,
        acquired=acquired,
        meta=meta,
        notes=(*kspace.notes, *notes),
    )


def outline(sampled: torch.Tensor) -> tuple[slice, slice, slice]:
    """The first to the last sample acquired along each axis of `(kz, ky, kx)`."""
    return (
        _run(sampled.any(-1).any(-1)),
        _run(sampled.any(-1).any(0)),
        _run(sampled.any(0).any(0)),
    )


def _run(sampled: torch.Tensor) -> slice:
    where = torch.nonzero(sampled).flatten()
    return slice(int(where[0]), int(where[-1]) + 1)
