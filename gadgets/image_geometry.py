"""The geometry of images, from what MRD's headers say."""

import math
from collections.abc import Iterable
from typing import Any

import ismrmrd
import numpy as np

from gadgets.encoding import Encoding
from gadgets.records import ImageSeries
from recon_core.image_geometry import ImageGeometry, Triple

_DIRECTIONS = {"read_dir": "ImageRowDir", "phase_dir": "ImageColumnDir", "slice_dir": "ImageSliceDir"}
"""Names in headers, and in the meta of images that were turned or flipped, which go before (MRD)."""


def geometry_of_series(series: ImageSeries) -> ImageGeometry:
    """Where the images of a series lie."""
    header = series.header
    return _geometry(
        series.data.shape[-3:],
        series.encoding.recon_fov_mm,
        header["position"],
        [_stated(series.meta, key) or header[name] for name, key in _DIRECTIONS.items()],
    )


def geometry_of_image(image: ismrmrd.Image) -> ImageGeometry:
    """Where an MRD image lies."""
    meta = image.meta
    directions = [_stated(meta, key) or getattr(image, name)[:] for name, key in _DIRECTIONS.items()]
    return _geometry(image.data.shape[-3:], image.field_of_view[:], image.position[:], directions)


def geometry_of_kspace(header: np.void, encoding: Encoding) -> ImageGeometry:
    """Where the encoded field of view of a k-space with this acquisition header lies."""
    directions = [header[name] for name in _DIRECTIONS]
    return _geometry(encoding.encoded_matrix[::-1], encoding.encoded_fov_mm, header["position"], directions)


def _stated(meta: Any, key: str) -> list[float] | None:
    """A direction from the meta; None where there is none, or no three numbers."""
    try:
        direction = [float(component) for component in meta.get(key, ())]
    except (TypeError, ValueError):
        return None
    return direction if len(direction) == 3 and np.isfinite(direction).all() else None


def _geometry(shape: Any, fov_mm: Any, position: Any, directions: list[Any]) -> ImageGeometry:
    """Directions that are missing or lie in one plane count as the patient's; voxels of no size as 1 mm."""
    n_z, n_y, n_x = shape
    axes = np.array(
        [np.asarray(direction) / max(np.linalg.norm(direction), 1e-6) for direction in directions]
    )
    axes = axes if abs(np.linalg.det(axes)) > 0.1 else np.eye(3)
    read, phase, normal = (_triple(axis) for axis in axes)
    return ImageGeometry(
        matrix=(n_x, n_y, n_z),
        fov_mm=_triple(mm if 0 < mm < math.inf else n for mm, n in zip(fov_mm, (n_x, n_y, n_z), strict=True)),
        centre_mm=_triple(position),
        directions=(read, phase, normal),
    )


def _triple(values: Iterable[Any]) -> Triple:
    x, y, z = (float(value) for value in values)
    return x, y, z
