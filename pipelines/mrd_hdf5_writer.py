"""Writing a scan as ISMRMRD HDF5, in bulk."""

import os
from pathlib import Path

import h5py
import ismrmrd
import numpy as np
from ismrmrd.hdf5 import acquisition_dtype, waveform_dtype, waveform_header_dtype

from gadgets.records import Readouts
from pipelines.sources import Scan
from recon_core.errors import InputError

_CHUNK_ROWS = 64


def write_scan(scan: Scan, path: Path) -> None:
    """Write header, acquisitions and waveforms to group ``dataset``; the file appears when it is whole.

    Raises InputError when no file can be made there.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    created = _created(temporary, path)
    try:
        with created as file:
            group = file.create_group("dataset")
            group["xml"] = np.array([scan.header_xml], h5py.special_dtype(vlen=bytes))
            for item in scan.items():
                if isinstance(item, Readouts):
                    _append(group, "data", _acquisition_rows(item))
                elif isinstance(item, ismrmrd.Waveform):
                    _append(group, "waveforms", _waveform_row(item))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _created(temporary: Path, path: Path) -> h5py.File:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return h5py.File(temporary, "w")
    except OSError as error:
        raise InputError(
            f"{path}: expected a place to write a file, got: {error.strerror or error}; choose another"
        ) from error


def _append(group: h5py.Group, name: str, rows: np.ndarray[tuple[int], np.dtype[np.void]]) -> None:
    if name not in group:
        group.create_dataset(name, (0,), rows.dtype, maxshape=(None,), chunks=(_CHUNK_ROWS,))
    data = group[name]
    data.resize(len(data) + len(rows), axis=0)
    data[-len(rows) :] = rows


def _acquisition_rows(readouts: Readouts) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    rows = np.empty(len(readouts), acquisition_dtype)
    rows["head"] = readouts.headers
    numbers = np.ascontiguousarray(readouts.data, np.complex64).reshape(len(readouts), -1).view(np.float32)
    for number, (samples, trajectory) in enumerate(zip(numbers, readouts.trajectory, strict=True)):
        rows["data"][number] = samples
        rows["traj"][number] = trajectory.ravel()
    return rows


def _waveform_row(waveform: ismrmrd.Waveform) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    row = np.empty(1, waveform_dtype)
    row["head"] = np.frombuffer(waveform.getHead(), waveform_header_dtype)
    row["data"][0] = waveform.data.ravel()
    return row
