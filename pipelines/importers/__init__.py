"""Other people's raw files to ISMRMRD."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py

from pipelines.importers import bart_cfl, fastmri, matlab, numpy_array, siemens_twix
from pipelines.mrd_hdf5_writer import write_scan
from pipelines.sources import Scan
from recon_core.errors import InputError

IMPORTERS: dict[str, Callable[..., Scan]] = {
    "bart": bart_cfl.read,
    "fastmri": fastmri.read,
    "matlab": matlab.read,
    "numpy": numpy_array.read,
    "siemens": siemens_twix.read,
}
"""What reads each kind of file; the keyword parameters are the options of `import_scan`."""


def import_scan(source: Path | str, destination: Path | str, kind: str | None = None, **options: Any) -> Path:
    """Convert a raw file to ISMRMRD HDF5 at `destination`, replacing what is there; returns its path.

    `kind` is one of `IMPORTERS`, by default what the file's content says. Raises InputError for a file or an
    option that cannot be used.
    """
    source, destination = Path(source), Path(destination)
    kind = kind or kind_of(source)
    if kind not in IMPORTERS:
        raise InputError(f"--kind: expected one of {', '.join(IMPORTERS)}, got {kind!r}; choose one of them")
    known = list(inspect.signature(IMPORTERS[kind]).parameters)[1:]
    if unknown := sorted(set(options) - set(known)):
        raise InputError(
            f"import of {kind}: expected options of {', '.join(known) or 'none'}, got {', '.join(unknown)}; "
            "leave them out"
        )
    if destination.exists() and destination.samefile(source):
        raise InputError(f"{destination}: expected another file than the source; choose another destination")
    write_scan(IMPORTERS[kind](source, **options), destination)
    return destination


def kind_of(path: Path) -> str:
    """Which importer reads the file. Raises InputError when none does."""
    if path.suffix in (".cfl", ".hdr") or path.with_name(f"{path.name}.cfl").exists():
        return "bart"
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except OSError as error:
        raise InputError(
            f"{path}: expected a readable file, got: {error.strerror}; check the path"
        ) from error
    if start.startswith((b"\x93NUMPY", b"PK")):
        return "numpy"
    if start.startswith(b"MATLAB"):
        return "matlab"
    if h5py.is_hdf5(path):
        with h5py.File(path, "r", locking=False) as hdf5:
            if "kspace" in hdf5 and ("ismrmrd_header" in hdf5 or "ismrmrd_header" in hdf5.attrs):
                return "fastmri"
            raise InputError(
                f"{path}: expected fastMRI's 'kspace' and 'ismrmrd_header', got {', '.join(hdf5) or 'none'}; "
                "an ISMRMRD file needs no import"
            )
    if siemens_twix.is_twix(start):
        return "siemens"
    raise InputError(
        f"{path}: expected a file of {', '.join(IMPORTERS)}, got one that begins with {start!r}; "
        "name its kind with --kind"
    )
