"""numpy: k-space in an ``.npy`` or ``.npz`` file."""

from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from pipelines.importers.cartesian import FovMm, cartesian_scan
from pipelines.importers.variables import only_array
from pipelines.sources import Scan
from recon_core.errors import InputError

_DEFAULT_AXES = {
    2: "ky kx",
    3: "coil ky kx",
    4: "coil kz ky kx",
    5: "slice coil kz ky kx",
}


def read(
    path: Path, *, variable: str | None = None, axes: str | None = None, fov_mm: FovMm | None = None
) -> Scan:
    """The scan in an array; `variable` names it in an ``.npz`` that holds several.

    `axes` are by default ``slice coil kz ky kx``, of which an array of four axes lacks the slice, one of
    three kz too, and one of two the coil.
    """
    try:
        variables = _variables(path)
    except (ValueError, BadZipFile, EOFError) as error:
        raise InputError(
            f"{path}: expected a numpy array, got: {error}; save it with numpy.save or numpy.savez"
        ) from error
    kspace = only_array(variables, variable, str(path))
    return cartesian_scan(kspace, axes or _DEFAULT_AXES.get(kspace.ndim, ""), where=str(path), fov_mm=fov_mm)


def _variables(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        if file.read(2) == b"PK":
            file.seek(0)
            with np.load(file, allow_pickle=False) as arrays:
                return dict(arrays)
    return {path.stem: np.load(path, allow_pickle=False, mmap_mode="r")}
