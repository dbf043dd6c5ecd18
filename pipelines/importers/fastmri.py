"""fastMRI's HDF5 files (Zbontar et al. 2018, arXiv:1811.08839)."""

from pathlib import Path

import numpy as np

from pipelines.importers.cartesian import cartesian_scan
from pipelines.mrd_hdf5 import opened
from pipelines.mrd_header import header_from_xml
from pipelines.sources import Scan
from recon_core.errors import InputError


def read(path: Path) -> Scan:
    """The scan in ``kspace``: `(slice, coil, kx, ky)`, or `(slice, kx, ky)` from a single coil.

    The height of fastMRI's arrays is the (oversampled) readout, their width is phase encoding; ``mask``,
    where present, runs along the latter. Lines outside it, and those zero-padded beyond the ones
    acquired, are not written. Geometry comes from ``ismrmrd_header``, with slices stacked by their thickness.
    """
    with opened(path) as file:
        found = file.attrs if "ismrmrd_header" in file.attrs else file
        if "kspace" not in file or "ismrmrd_header" not in found:
            raise InputError(
                f"{path}: expected 'kspace' and 'ismrmrd_header', got {', '.join(file) or 'nothing'}; "
                "give a fastMRI file with k-space"
            )
        xml = found["ismrmrd_header"]
        xml = xml[()] if hasattr(xml, "shape") and xml.shape == () else xml
        kspace = file["kspace"][()]
        if "mask" in file:
            kspace = kspace * np.ravel(file["mask"][()]).astype(bool)
    header = header_from_xml(xml if isinstance(xml, bytes) else str(xml).encode())
    axes = ["slice", "coil", "kx", "ky"] if kspace.ndim == 4 else ["slice", "kx", "ky"]
    return cartesian_scan(kspace, axes, where=str(path), header=header)
