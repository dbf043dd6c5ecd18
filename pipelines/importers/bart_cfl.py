"""BART: k-space in a pair of ``.cfl`` and ``.hdr`` files."""

import math
from pathlib import Path

import numpy as np

from pipelines.importers.cartesian import FovMm, cartesian_scan
from pipelines.sources import Scan
from recon_core.errors import InputError

# BART's sixteen dimensions (src/misc/mri.h) and the MRD axes they are.
_DIMENSIONS = {
    0: "kx",
    1: "ky",
    2: "kz",
    3: "coil",
    5: "contrast",
    10: "repetition",
    11: "phase",
    13: "slice",
    14: "average",
}


def read(path: Path, *, fov_mm: FovMm | None = None) -> Scan:
    """The scan in ``path.cfl`` and ``path.hdr``; either name, or the one without suffix, will do.

    Readout, phase encoding 1 and 2 and coils are dimensions 0 to 3; echoes (5) become contrasts, time (10)
    repetitions, the second time (11) phases, 13 slices and 14 averages.
    """
    stem = path.with_suffix("") if path.suffix in (".cfl", ".hdr") else path
    shape = _shape(stem.with_name(f"{stem.name}.hdr"))
    cfl = stem.with_name(f"{stem.name}.cfl")
    n_bytes = cfl.stat().st_size if cfl.is_file() else 0
    if n_bytes != 8 * math.prod(shape):
        raise InputError(
            f"{cfl}: expected {8 * math.prod(shape)} bytes for dimensions {shape}, got {n_bytes}; "
            "give the .cfl and .hdr files that belong together"
        )
    if extra := [i for i, n in enumerate(shape) if n > 1 and i not in _DIMENSIONS]:
        raise InputError(
            f"{cfl}: expected Cartesian k-space in dimensions {sorted(_DIMENSIONS)}, got {shape} with others "
            f"({extra}) longer than one; extract it with 'bart slice'"
        )
    shape += [1] * (max(_DIMENSIONS) + 1 - len(shape))
    if shape[0] == 1 and shape[1] > 1:
        raise InputError(
            f"{cfl}: expected Cartesian k-space, got {shape} with a first dimension of 1, as non-Cartesian "
            "samples have; grid it first ('bart nufft')"
        )
    data = np.memmap(cfl, np.complex64, "r", shape=tuple(shape), order="F")
    kspace = data[tuple(slice(None) if i in _DIMENSIONS else 0 for i in range(len(shape)))]
    return cartesian_scan(kspace, list(_DIMENSIONS.values()), where=str(cfl), fov_mm=fov_mm)


def _shape(path: Path) -> list[int]:
    lines = path.read_text().splitlines() if path.is_file() else []
    try:
        shape = [int(word) for word in lines[lines.index("# Dimensions") + 1].split()]
    except (ValueError, IndexError):
        shape = []
    if not shape or min(shape) < 1:
        raise InputError(
            f"{path}: expected a BART header with '# Dimensions', got none; give both the .cfl and .hdr file"
        )
    return shape
