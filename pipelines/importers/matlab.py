"""MATLAB: k-space as a named array in a ``.mat`` file of any version."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from pipelines.importers.cartesian import FovMm, cartesian_scan
from pipelines.importers.variables import only_array
from pipelines.mrd_hdf5 import opened
from pipelines.sources import Scan
from recon_core.errors import InputError

_DEFAULT_AXES = {2: "kx ky", 3: "kx ky coil", 4: "kx ky kz coil", 5: "kx ky kz coil slice"}


def read(
    path: Path, *, variable: str | None = None, axes: str | None = None, fov_mm: FovMm | None = None
) -> Scan:
    """The scan in an array; `variable` names it in a file that holds several.

    `axes` are in MATLAB's order, ``size(kspace)``, by default ``kx ky kz coil slice``, of which an
    array of four axes lacks the slice, one of three kz too, and one of two the coil.
    """
    variables = _hdf5_variables(path) if h5py.is_hdf5(path) else _classic_variables(path)
    kspace = only_array(variables, variable, str(path))
    return cartesian_scan(kspace, axes or _DEFAULT_AXES.get(kspace.ndim, ""), where=str(path), fov_mm=fov_mm)


def _classic_variables(path: Path) -> dict[str, Any]:
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        variables: dict[str, Any] = loadmat(path)
    except (MatReadError, ValueError, NotImplementedError, OSError) as error:
        raise InputError(
            f"{path}: expected a MATLAB file, got: {error}; save it again with 'save'"
        ) from error
    return variables


def _hdf5_variables(path: Path) -> dict[str, Any]:
    """Version 7.3 is HDF5, which lists axes the other way round and complex numbers as pairs."""
    variables = {}
    with opened(path) as file:
        for name, member in file.items():
            if isinstance(member, h5py.Dataset) and not name.startswith("#"):
                values = member[()]
                if values.dtype.names == ("real", "imag"):
                    values = values["real"] + np.complex64(1j) * values["imag"]
                variables[name] = values.T
    return variables
