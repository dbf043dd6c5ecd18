"""Reading ISMRMRD HDF5 files of any age, in bulk, without touching or locking them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError

import h5py
import ismrmrd
import ismrmrd.image
import ismrmrd.waveform
import numpy as np
import numpy.typing as npt

from gadgets.records import FLAG_BITS, HEADER_DTYPE, Readouts
from recon_core.errors import InputError

# Blocks of this size read fastest; each element is a small allocation of its own inside h5py.
_BLOCK_BYTES = 4 << 20
_BLOCK_ROWS = 1024

_IMAGE_HEADER_DTYPE: np.dtype[np.void] = np.dtype(ismrmrd.image.ImageHeader)
_WAVEFORM_HEADER_DTYPE: np.dtype[np.void] = np.dtype(ismrmrd.waveform.WaveformHeader)
_COMPRESSED = np.uint64(sum(bit for name, bit in FLAG_BITS.items() if name.startswith("COMPRESSION")))
_IMAGE_PARTS = frozenset(["header", "attributes", "data"])

Rows = npt.NDArray[np.void]


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """The file, read-only and unlocked: a scanner may still be writing it, the folder may be read-only.

    Raises InputError for whatever HDF5 cannot read, now or later.
    """
    try:
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except (OSError, RuntimeError, KeyError) as error:
        raise InputError(f"{path}: expected a whole HDF5 file, got: {error}; the file is damaged") from error


def dataset_group(file: h5py.File, wanted: str | None) -> h5py.Group:
    """The group of the scan: the one asked for, else ``dataset``, else the only one there is."""
    found = _groups(file)
    name = wanted or ("dataset" if "dataset" in found else None)
    if name is None and len(found) == 1:
        (name,) = found
    if name in found:
        return found[name]
    if not found:
        has = ", ".join(file) or "nothing"
        raise InputError(
            f"{file.filename}: expected a group with ISMRMRD acquisitions or images, got {has}; "
            "give an ISMRMRD file ('reconstream import' makes one of fastMRI, MATLAB and other files)"
        )
    raise InputError(
        f"{file.filename}: expected {f'a dataset {wanted!r}' if wanted else 'one dataset'}, got "
        f"{', '.join(sorted(found))}; name one of them"
    )


def _groups(file: h5py.File) -> dict[str, h5py.Group]:
    groups = {name: group for name, group in file.items() if isinstance(group, h5py.Group)}
    return {name: group for name, group in groups.items() if is_raw(group) or image_series(group)}


def is_raw(group: h5py.Group) -> bool:
    """Whether the group holds acquisitions."""
    data = group.get("data")
    return isinstance(data, h5py.Dataset) and {"head", "data"} <= set(data.dtype.names or ())


def image_series(group: h5py.Group) -> list[h5py.Group]:
    """The groups of images in a dataset, ``image_2`` before ``image_10``."""
    if set(group) >= _IMAGE_PARTS:
        return [group]
    series = [member for member in group.values() if isinstance(member, h5py.Group)]
    return sorted((s for s in series if set(s) >= _IMAGE_PARTS), key=lambda s: (len(s.name), s.name))


def header_xml(group: h5py.Group) -> bytes:
    """The MRD header; empty when there is none, as in files that hold images only."""
    if "xml" not in group:
        return b""
    xml = np.ravel(group["xml"][()])
    text = xml[0] if xml.size else b""
    return bytes(text.encode() if isinstance(text, str) else text).split(b"\0", 1)[0]


def items(path: Path, dataset: str | None) -> Iterator[Readouts | ismrmrd.Waveform | ismrmrd.Image]:
    """Acquisitions with waveforms between them in order of time, or images when there are no acquisitions."""
    with opened(path) as file:
        group = dataset_group(file, dataset)
        if is_raw(group):
            yield from _merged(_readouts(group["data"]), _waveforms(group))
        else:
            for series in image_series(group):
                yield from _images(series)


def _merged(
    blocks: Iterator[Readouts], waveforms: Iterator[ismrmrd.Waveform]
) -> Iterator[Readouts | ismrmrd.Waveform]:
    """Each waveform goes before the first readout that is later, as Gadgetron's client sends them."""
    waveform = next(waveforms, None)
    for block in blocks:
        start = 0
        while waveform is not None:
            is_later = block.headers["acquisition_time_stamp"][start:] > waveform.time_stamp
            if not is_later.any():
                break
            if n_before := int(np.argmax(is_later)):
                yield block.select(slice(start, start + n_before))
            start += n_before
            yield waveform
            waveform = next(waveforms, None)
        yield block.select(slice(start, None)) if start else block
    if waveform is not None:
        yield waveform
        yield from waveforms


def _row_blocks(data: h5py.Dataset) -> Iterator[tuple[int, Rows]]:
    start, rows = 0, data[:1].reshape(-1)  # the first library versions stored a column
    while start < len(data):
        largest = max(samples.nbytes for samples in rows["data"])
        n_rows = min(max(_BLOCK_BYTES // max(largest, 1), 1), _BLOCK_ROWS)
        rows = data[start : start + n_rows].reshape(-1)
        yield start, rows
        start += n_rows


def _readouts(data: h5py.Dataset) -> Iterator[Readouts]:
    for start, rows in _row_blocks(data):
        headers = _current(rows["head"], HEADER_DTYPE)
        shapes = np.stack(
            [headers[n] for n in ("active_channels", "number_of_samples", "trajectory_dimensions")], axis=1
        )
        cuts = np.flatnonzero((shapes[1:] != shapes[:-1]).any(axis=1)) + 1
        for first, last in zip([0, *cuts], [*cuts, len(rows)], strict=True):
            n_coils, n_samples, n_dimensions = (int(n) for n in shapes[first])
            where = f"{data.file.filename}, readout {start + first}"
            _refuse_compressed(headers[first:last], where)
            samples = _flat(rows["data"][first:last], 2 * n_coils * n_samples, where)
            trajectory = _flat(rows["traj"][first:last], n_samples * n_dimensions, where)
            yield Readouts(
                headers=headers[first:last],
                data=samples.view(np.complex64).reshape(last - first, n_coils, n_samples),
                trajectory=trajectory.reshape(last - first, n_samples, n_dimensions),
            )


def _refuse_compressed(headers: Rows, where: str) -> None:
    if (headers["flags"] & _COMPRESSED).any():
        raise InputError(
            f"{where} or later: expected uncompressed samples, got a compressed acquisition (flag 53 or "
            "54); convert the raw data again without compression"
        )


def _flat(arrays: npt.NDArray[Any], n_each: int, where: str) -> npt.NDArray[np.float32]:
    """`(row, n_each)` of equally long arrays of numbers, or of the complex numbers of the first versions."""
    flat = np.concatenate(arrays)
    if flat.dtype.kind in "cV":
        flat = flat.view(np.float32 if flat.dtype.itemsize == 8 else np.float64)
    n_numbers = [array.nbytes // flat.dtype.itemsize for array in arrays]
    if set(n_numbers) != {n_each}:
        number = next(i for i, n in enumerate(n_numbers) if n != n_each)
        raise InputError(
            f"{where} + {number}: expected {n_each} numbers from its header, got {n_numbers[number]}; "
            "the file is damaged"
        )
    return flat.astype(np.float32, copy=False).reshape(len(arrays), n_each)


def _waveforms(group: h5py.Group) -> Iterator[ismrmrd.Waveform]:
    if "waveforms" not in group:
        return
    for start, rows in _row_blocks(group["waveforms"]):
        for number, (header, row) in enumerate(
            zip(_current(rows["head"], _WAVEFORM_HEADER_DTYPE), rows, strict=True), start
        ):
            n_expected = int(header["channels"]) * int(header["number_of_samples"])
            if row["data"].size != n_expected:
                raise InputError(
                    f"{group.file.filename}, waveform {number}: expected {n_expected} numbers from its "
                    f"header, got {row['data'].size}; the file is damaged"
                )
            yield ismrmrd.Waveform.from_bytes(header.tobytes() + row["data"].astype("<u4").tobytes())


def _images(series: h5py.Group) -> Iterator[ismrmrd.Image]:
    headers = _current(np.ravel(series["header"][()]), _IMAGE_HEADER_DTYPE)
    for number, header in enumerate(headers):
        attributes = np.ravel(series["attributes"][number])[0]
        text = attributes if isinstance(attributes, str) else attributes.decode()
        try:
            image = ismrmrd.Image(header.tobytes(), text.rstrip("\0"))
            pixels = series["data"][number]
            if pixels.dtype.names:
                pixels = pixels.view(np.complex64 if pixels.dtype.itemsize == 8 else np.complex128)
            image.data[:] = pixels.reshape(image.data.shape)
        except (ValueError, TypeError, ParseError, AssertionError) as error:
            raise InputError(
                f"{series.file.filename}, image {number} of {series.name}: expected an MRD image, got: "
                f"{error}; the file is damaged"
            ) from error
        yield image


def _current(old: Rows, dtype: np.dtype[np.void]) -> Rows:
    """Headers of any version in today's layout, by field name; what an old one lacks is zero."""
    new = np.zeros(len(old), dtype)
    _copy_fields(old, new)
    if "quaternion" in (old.dtype.names or ()):
        _set_directions(new, old["quaternion"])
    return new


def _copy_fields(old: Rows, new: Rows) -> None:
    for name in new.dtype.names or ():
        if name not in (old.dtype.names or ()):
            continue
        if new[name].dtype.names:
            _copy_fields(old[name], new[name])
        elif new[name].ndim == 1:
            new[name] = old[name]
        else:  # 2013 and 2014 had eight physiology time stamps
            n_kept = min(new[name].shape[1], old[name].shape[1])
            new[name][:, :n_kept] = old[name][:, :n_kept]


def _set_directions(headers: Rows, quaternions: npt.NDArray[np.float32]) -> None:
    """The rotation matrix of unit quaternions `(x, y, z, w)`, the geometry of files from 2012."""
    a, b, c, d = quaternions.T
    headers["read_dir"] = np.stack([1 - 2 * (b * b + c * c), 2 * (a * b + c * d), 2 * (a * c - b * d)], 1)
    headers["phase_dir"] = np.stack([2 * (a * b - c * d), 1 - 2 * (a * a + c * c), 2 * (b * c + a * d)], 1)
    headers["slice_dir"] = np.stack([2 * (a * c + b * d), 2 * (b * c - a * d), 1 - 2 * (a * a + b * b)], 1)
