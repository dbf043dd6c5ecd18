"""From the record of a k-space to the record of its image."""

from dataclasses import replace

import ismrmrd
import torch

from gadgets.records import ImageSeries, KSpace


def reconstructed(kspace: KSpace, image: torch.Tensor, *notes: str) -> ImageSeries:
    """An image `(channel, z, y, x)` of a k-space, with the k-space's header, notes and field of view."""
    _, n_z, n_y, n_x = image.shape
    encoding = kspace.encoding
    return ImageSeries(
        data=image,
        header=kspace.header,
        encoding=replace(encoding, recon_matrix=(n_x, n_y, n_z), recon_fov_mm=encoding.encoded_fov_mm),
        image_type=ismrmrd.IMTYPE_COMPLEX if image.is_complex() else ismrmrd.IMTYPE_MAGNITUDE,
        notes=(*kspace.notes, *notes),
    )
