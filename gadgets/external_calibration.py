"""Calibration data from an earlier scan of the study, for scans whose calibration is external."""

from collections.abc import Iterable

import msgspec
import numpy as np
import torch

from gadgets.gadget import Context
from gadgets.image_geometry import geometry_of_kspace
from gadgets.kspace_buffer import KSpaceBuffer
from gadgets.study import Item, Kept
from recon_core.calibration import calibration_block
from recon_core.coils.compression import apply_coil_matrix
from recon_core.fourier import resize
from recon_core.image_geometry import ImageGeometry

TAKEN_NOTE = "calibrated by an earlier scan of the study"
MISSING_NOTE = "external calibration not used: no scan of the study calibrates this place, with these coils"

_KEPT = 48, 48, 128
"""Samples along (kz, ky, kx) that are kept of the centre, before the readout's oversampling is removed."""
_SAME_DIRECTION = 0.01
_SAME_MM = 1.0
_SAME_FOV = 0.01


class ExternalCalibration:
    """What the study has for the images of one scan."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._kept: list[tuple[ImageGeometry, Kept]] | None = None

    def take(self, image: KSpaceBuffer) -> torch.Tensor | None:
        """`(coil, kz, ky, kx)`: the newest that lies where `image` does, with its coil matrix applied.

        That is noted, and so is where there is none.
        """
        for kept in self._nearest(geometry_of_kspace(image.nearest_to_centre(), image.encoding)):
            tensors = kept.load()
            if tensors is not None and len(tensors["kspace"]) == image.data.shape[2]:
                image.notes[TAKEN_NOTE] = None
                kspace, matrix = tensors["kspace"], image.coil_matrix
                return kspace if matrix is None else apply_coil_matrix(matrix.cpu(), kspace)
        self._context.logger.warning(MISSING_NOTE)
        image.notes[MISSING_NOTE] = None
        return None

    def _nearest(self, wanted: ImageGeometry) -> Iterable[Kept]:
        """Newest scan first, and of each the nearest slice first."""
        if self._kept is None:
            found = self._context.study.find("calibration", self._context.scan)
            self._kept = [(msgspec.convert(kept.about, ImageGeometry), kept) for kept in found]
        scans: dict[str, list[tuple[float, int, Kept]]] = {}
        for number, (geometry, kept) in enumerate(self._kept):
            distance_mm = _distance_mm(geometry, wanted)
            if distance_mm is not None:
                scans.setdefault(kept.measurement, []).append((distance_mm, number, kept))
        return [kept for slices in scans.values() for _, _, kept in sorted(slices)]


def keep_calibration(image: KSpaceBuffer, context: Context) -> None:
    """Leave the fully sampled centre of an image, its coils as received, to scans that lack one."""
    scan, block = context.scan, calibration_block(torch.from_numpy(image.sampled))
    if not scan.study or block is None:
        context.logger.warning("calibration not kept: no study in the header, or no sampled centre")
        return
    z, y, x = block
    kspace = torch.from_numpy(image.averaged()[z, y, :, x]).movedim(2, 0)
    kspace = resize(kspace, [min(n, most) for n, most in zip(kspace.shape[1:], _KEPT, strict=True)])
    header = image.nearest_to_centre()
    counters = " ".join(str(int(header["idx"][name])) for name in ("slice", "contrast", "set"))
    item = Item(
        kind="calibration",
        scan=scan,
        name=f"{scan.measurement}\n{counters}",
        tensors={"kspace": kspace.clone()},
        about=msgspec.to_builtins(geometry_of_kspace(header, image.encoding)),
    )
    context.study.keep(item)


def _distance_mm(geometry: ImageGeometry, wanted: ImageGeometry) -> float | None:
    """How far apart along the slice axis; None where one cannot calibrate the other.

    Axes and field of view must be the same, since k-space is compared sample by sample; along the slice,
    sensitivities change little within a slice.
    """
    axes, other_axes = np.array(wanted.directions), np.array(geometry.directions)
    apart_mm = np.abs(axes @ np.subtract(geometry.centre_mm, wanted.centre_mm))
    is_slice = wanted.matrix[2] == 1
    reach_mm = max(geometry.slice_mm, wanted.slice_mm) if is_slice else _SAME_MM
    n_same = 2 if is_slice else 3
    fov_mm, wanted_mm = np.array(geometry.fov_mm[:n_same]), np.array(wanted.fov_mm[:n_same])
    fits = (
        (geometry.matrix[2] == 1) == is_slice
        and np.abs(axes - other_axes).max() < _SAME_DIRECTION
        and (np.abs(fov_mm - wanted_mm) <= _SAME_FOV * wanted_mm).all()
        and apart_mm[:2].max() <= _SAME_MM
        and apart_mm[2] <= reach_mm
    )
    return float(apart_mm[2]) if fits else None
