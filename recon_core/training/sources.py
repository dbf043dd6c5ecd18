"""Images in folders as slices: numpy archives, NIfTI, PNG; other files through a reader that is handed in."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt
import torch

from recon_core.errors import InputError
from recon_core.nets.architecture import Count
from recon_core.training.slices import Kind, Slice

RawReader = Callable[[Path], Iterable[Slice]]
"""Reads a file of raw data as slices of k-space, those of other sources as in `Slice`."""

ARRAYS = (".npz", ".npy", ".nii", ".nii.gz")
PICTURES = (".png", ".jpg", ".jpeg")
RAW = (".h5", ".mrd", ".dat", ".cfl")
ENDINGS = (*ARRAYS, *PICTURES, *RAW)
LEAST_SIGNAL = 0.2


class Source(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Files that belong together: what they show, and on what terms weights may come from them."""

    name: str
    files: tuple[str, ...]
    """Patterns of file names, such as `knee_*.npz`, below any of the data folders."""
    licence: str
    terms: Literal["permissive", "research"]
    """Whether weights trained on them may be given to anyone for any use."""
    anatomy: str
    contrast: str = "any"
    arrays: str = "*"
    """Pattern of the arrays' names in a numpy archive."""
    kind: Kind | None = None
    """What the slices are; unless told, complex or magnitude as their numbers are. Raw data are k-space."""
    subject: str = ""
    """A regular expression whose match in `FILE:ARRAY` names the subject; unless told, a file is a subject.

    `slice` makes every slice one, as is right for natural images."""
    slice_axis: int | None = None
    """Of arrays with three axes; the first of numpy's, the last of NIfTI's, unless told."""
    every: Count = 1
    """Take every so manieth slice."""
    guided_by: tuple[str, ...] = ()
    """Sources whose slices of the same subject and position show the same place in another contrast."""


def read_slices(
    sources: Iterable[Source], folders: Sequence[Path], read_raw: RawReader | None = None
) -> list[Slice]:
    """The slices of all sources but nearly empty ones, the largest magnitude of each volume one.

    Raises InputError for a source without files, a file that cannot be read, and arrays that are no images.
    """
    return [
        found
        for source in sources
        for path in _files(source, folders)
        for found in _slices(path, source, read_raw)
    ]


def _files(source: Source, folders: Sequence[Path]) -> list[Path]:
    found = {path for folder in folders for pattern in source.files for path in folder.rglob(pattern)}
    if not found:
        where = ", ".join(map(str, folders))
        raise InputError(
            f"source '{source.name}': expected files like {', '.join(source.files)} below {where}, got none; "
            "give their folder as --data, or change `files`"
        )
    return sorted(found)


def _slices(path: Path, source: Source, read_raw: RawReader | None) -> Iterator[Slice]:
    if path.suffix in RAW:
        if read_raw is None:
            raise InputError(f"{path}: expected images, got raw data; `reconstream train` reads raw data too")
        for number, measured in enumerate(read_raw(path)):
            if number % source.every == 0:
                yield _of_source(measured, source, _subject(source, path.name, number))
        return
    if source.kind == "feature_maps":
        for number, both in enumerate(_feature_maps(path)):
            if number % source.every == 0:
                found = Slice(data=both, kind="feature_maps", subject="", position=number)
                yield _of_source(found, source, _subject(source, path.name, number))
        return
    for name, array in _arrays(path, source.arrays):
        where = f"{path.name}:{name}" if name else path.name
        axis = source.slice_axis if source.slice_axis is not None else -1 if ".nii" in path.suffixes else 0
        volume = _volume(array, source.kind, axis, f"{path}:{name}" if name else str(path))
        signal = volume.abs().mean((1, 2))
        for number in range(0, len(volume), source.every):
            if signal[number] < LEAST_SIGNAL * signal.max() or signal[number] == 0:
                continue
            found = Slice(
                data=volume[number],
                kind=source.kind or ("complex" if volume.is_complex() else "magnitude"),
                subject="",
                position=number,
            )
            yield _of_source(found, source, _subject(source, where, number))


def _feature_maps(path: Path) -> list[torch.Tensor]:
    """`(2, L, y, x)` of each slice, from the arrays `backprojection` and `truth`, `(slice, L, y, x)`."""
    arrays = [array for name in ("backprojection", "truth") for _, array in _arrays(path, name)]
    if len({array.shape for array in arrays}) != 1 or arrays[0].ndim != 4 or len(arrays) != 2:
        raise InputError(
            f"{path}: expected backprojection and truth, (slice, L, y, x), got "
            f"{', '.join(str(array.shape) for array in arrays)}; write both"
        )
    return list(torch.stack([torch.from_numpy(array.astype(np.complex64)) for array in arrays], dim=1))


def _of_source(found: Slice, source: Source, subject: str) -> Slice:
    return Slice(
        data=found.data,
        kind=found.kind,
        subject=subject,
        position=found.position,
        anatomy=source.anatomy,
        contrast=source.contrast,
        source=source.name,
    )


def _subject(source: Source, where: str, number: int) -> str:
    if source.subject == "slice":
        return f"{where}:{number}"
    if not source.subject:
        return where.partition(":")[0]
    match = re.search(source.subject, where)
    if match is None:
        raise InputError(
            f"source '{source.name}': expected a match of '{source.subject}' in '{where}', got none; "
            "change `subject`"
        )
    return match.group()


def _arrays(path: Path, pattern: str) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    from fnmatch import fnmatch

    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as archive:
                names = [name for name in archive.files if fnmatch(name, pattern)]
                if not names:
                    raise InputError(
                        f"{path}: expected arrays like {pattern}, got {', '.join(archive.files)}"
                    )
                yield from ((name, archive[name]) for name in names)
        elif path.suffix == ".npy":
            yield "", np.load(path, allow_pickle=False)
        elif path.suffix in PICTURES:
            from PIL import Image

            with Image.open(path) as picture:
                yield "", np.asarray(picture.convert("L"))
        elif path.name.endswith((".nii", ".nii.gz")):
            import nibabel

            yield "", np.asanyarray(nibabel.load(path).dataobj)  # type: ignore[attr-defined]
        else:
            raise InputError(
                f"{path}: expected .npz, .npy, .nii, .nii.gz, .png or raw data, got '{path.suffix}'; "
                "narrow `files` down"
            )
    except (OSError, ValueError, EOFError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: expected images, got: {error}; is the file whole?") from error


def _volume(array: npt.NDArray[Any], kind: Kind | None, slice_axis: int, where: str) -> torch.Tensor:
    """`(slice, y, x)` float32 or complex64, its largest magnitude one. Two planes of a complex image may lie
    along the last axis."""
    if kind == "complex" and not np.iscomplexobj(array) and array.shape[-1] == 2:
        array = array.astype(np.float32).view(np.complex64)[..., 0]
    while array.ndim > 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim == 3:
        array = np.moveaxis(array, slice_axis, 0)
    if array.ndim not in (2, 3) or array.dtype.kind not in "iufcb":
        raise InputError(
            f"{where}: expected an image or a stack of images, got {array.dtype} of shape {array.shape}; "
            "narrow `arrays` down"
        )
    volume = np.ascontiguousarray(array, np.complex64 if np.iscomplexobj(array) else np.float32)
    peak = np.abs(volume).max(initial=0)
    if not np.isfinite(peak):
        raise InputError(f"{where}: expected finite numbers, got NaN or Inf")
    return torch.from_numpy(volume / (peak or 1)).reshape(-1, *volume.shape[-2:])
